// A person with a browser, watched: nothing but the Portal is asked (and what `at.also` names), no password leaves a page, no script or policy complains, and
// whatever is looked at can be read.
import { chromium } from "playwright-core";

/** Fails with these words where something does not hold. */
export const check = (holds, words) => {
  if (!holds) throw new Error(words);
};

/** A browser that trusts the key with this fingerprint (`sha256/…`) as if an authority vouched for it. To ignore what is wrong with it, as
 * what Node asks itself does, is not enough: then nothing is kept of what may be kept. */
export const launch = (pin) =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", `--ignore-certificate-errors-spki-list=${pin.replace("sha256/", "")}`],
  });

/** Whether a secret is in a text: as it is, as addresses and forms have it, in JSON, or in any base64. */
export function tells(text, secret) {
  const forms = [secret, encodeURIComponent(secret), new URLSearchParams({ "": secret }).toString().slice(1), JSON.stringify(secret).slice(1, -1)];
  const inside = (text.match(/[A-Za-z0-9+/_-]{8,}=*/g) ?? []).map((word) => Buffer.from(word, "base64").toString());
  return [text, ...inside].some((part) => forms.some((form) => part.includes(form)));
}

export class Visitor {
  /** What went wrong until now. */
  wrong = [];
  /** What was not answered, or with a refusal. */
  refused = [];
  /** All that was sent. */
  sent = [];
  /** What the console may say: a walk goes where the browser complains. */
  pardoned = /^Failed to load resource/;

  /** `at`: the Portal's URL, other origins that may be asked, the secrets, and where pictures go. */
  static async enter(browser, at, name, options = {}) {
    const visitor = new this();
    Object.assign(visitor, { at, name, context: await browser.newContext({ ignoreHTTPSErrors: true, ...options }) });
    visitor.context.setDefaultTimeout(60_000);
    await visitor.context.exposeFunction("violated", (what) => visitor.wrong.push(`the policy forbids: ${what}`));
    await visitor.context.addInitScript(() =>
      addEventListener("securitypolicyviolation", (event) => window.violated(`${event.violatedDirective} ${event.blockedURI}`)));
    visitor.page = await visitor.context.newPage();
    visitor.watch();
    return visitor;
  }

  watch() {
    const { page, wrong } = this;
    page.on("pageerror", (error) => wrong.push(`a script fails: ${error.message}`));
    page.on("console", (line) => {
      // A status that is no success is told there too; those are looked at where they are expected.
      if (["error", "warning"].includes(line.type()) && !this.pardoned.test(line.text())) {
        wrong.push(`the console says: ${line.text()}`);
      }
    });
    page.on("request", (request) => {
      const what = [request.method(), request.url(), JSON.stringify(request.headers()), request.postData() ?? ""].join(" ");
      this.sent.push(what);
      const known = [this.at.url, ...(this.at.also ?? [])].some((origin) => request.url().startsWith(`${origin}/`));
      if (!known && !request.url().startsWith("blob:")) wrong.push(`another origin is asked: ${request.url()}`);
      if (this.at.secrets.some((secret) => tells(what, secret))) wrong.push(`a password leaves the page: ${request.method()} ${request.url()}`);
    });
    page.on("requestfailed", (request) => this.refused.push(`${request.url()}: ${request.failure()?.errorText}`));
    page.on("response", (response) => {
      if (response.status() >= 400) this.refused.push(`${response.url()}: ${response.status()}`);
      const { "content-type": kind = "", "content-security-policy": policy = "" } = response.headers();
      if (kind.startsWith("text/html") && !policy.includes("default-src 'none'")) wrong.push(`a page without a policy: ${response.url()}`);
    });
  }

  /** Opens a page of this status, and looks at it. */
  async open(path, what = path.slice(1).replaceAll(/[/?=&%]+/g, "-"), status = 200) {
    const answer = await this.page.goto(this.at.url + path);
    check(answer.status() === status, `${this.name}, ${path}: status ${answer.status()} in place of ${status}`);
    await this.look(what);
  }

  /** Looks at the page that is open, and takes a picture where pictures are wanted. */
  async look(what) {
    if (this.at.shots) await this.page.screenshot({ path: `${this.at.shots}/${this.name}-${what}.png`, fullPage: true });
    const faults = [...this.wrong, ...(await this.page.evaluate(inspect))];
    check(faults.length === 0, `${this.name}, ${what}: ${faults.join("; ")}`);
  }

  async says(words) {
    await this.page.getByText(words).first().waitFor();
  }

  field(label) {
    return this.page.getByLabel(label, { exact: true });
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  link(name) {
    return this.page.getByRole("link", { name, exact: true });
  }

  cell(text) {
    return this.page.getByRole("cell", { name: text, exact: true });
  }

  /** Fills in fields by their labels. */
  async fill(values) {
    for (const [label, value] of Object.entries(values)) await this.field(label).fill(value);
  }

  /** Chooses a new password in the form of the page, whose button has this name. */
  async choose(password, button, again = password) {
    await this.fill({ "New password": password, "The same again": again });
    await this.button(button).click();
  }

  /** Goes on by Tab until this has the focus, which has to be seen. */
  async tabTo(wanted) {
    for (let steps = 0; steps < 80; steps++) {
      if (await wanted.evaluate((element) => element === document.activeElement)) {
        const seen = await wanted.evaluate((element) => element.matches(":focus-visible") && parseFloat(getComputedStyle(element).outlineWidth) >= 2);
        return check(seen, `${this.name}: the focus on ${wanted} is not seen`);
      }
      await this.page.keyboard.press("Tab");
    }
    check(false, `${this.name}: Tab does not lead to ${wanted}`);
  }

  /** Opens the sign-in page, and signs in. */
  async signIn(name, password, next = "") {
    await this.page.goto(`${this.at.url}/login${next}`);
    await this.typeLogin(name, password);
  }

  /** Signs in by keys alone: the first field gets the focus by itself, which may be after the page has loaded. */
  async typeLogin(name, password) {
    await this.page.locator("input[autofocus]:focus").waitFor();
    await this.page.keyboard.type(name);
    await this.page.keyboard.press("Tab");
    await this.page.keyboard.type(password);
    await this.page.keyboard.press("Enter");
  }

  leave() {
    return this.context.close();
  }
}

/** Runs in the page: what is wrong with it for who wants to read and use it. */
function inspect() {
  const faults = [];
  const root = document.scrollingElement;
  if (root.scrollWidth > innerWidth) faults.push(`the page is ${root.scrollWidth} wide on a screen of ${innerWidth}`);
  if (document.querySelectorAll("h1").length !== 1 || !document.querySelector("h1").textContent.trim()) faults.push("a page has one heading");
  if (document.title.startsWith(" ·")) faults.push("a page has a title");

  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`the id ${id} stands twice`);
  for (const element of document.querySelectorAll("[aria-describedby], [aria-labelledby]")) {
    const named = `${element.getAttribute("aria-describedby") ?? ""} ${element.getAttribute("aria-labelledby") ?? ""}`.trim().split(/\s+/);
    for (const id of named) if (!ids.includes(id)) faults.push(`nothing has the id ${id}`);
  }
  for (const field of document.querySelectorAll("input:not([type=hidden]), select")) {
    if (!field.labels.length) faults.push(`a field has no label: ${field.outerHTML}`);
  }
  for (const control of document.querySelectorAll("button, a[href]")) {
    if (!(control.getAttribute("aria-label") ?? control.textContent).trim()) faults.push(`a control has no name: ${control.outerHTML}`);
  }

  // WCAG 2.1, 1.4.3: the contrast of text to what is behind it.
  const rgba = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = rgba(color).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((rgba(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    const field = element.matches("input:not([type=hidden], [type=checkbox]), select");
    if ((!text && !field) || !element.checkVisibility() || element.disabled) continue;
    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) faults.push(`a contrast of ${contrast.toFixed(1)}: ${element.outerHTML.slice(0, 100)}`);
  }
  return faults;
}
