// Walks through the Portal's pages in Chromium, as people do: by what they read on them, and by the keyboard. On standard input comes
// {url, password, content: {id, title}}; what is wrong ends it with a word about it. With SHOTS=<directory> it takes pictures.
import { mkdirSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { url, password, content } = JSON.parse(readFileSync(0, "utf8"));
const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

const check = (holds, words) => {
  if (!holds) throw new Error(words);
};

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

/** A visitor, whose page is watched: nothing but the Portal is asked, no secret leaves it, and no script complains. */
async function visitor(name, options, secrets) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(`a script fails: ${error.message}`));
  page.on("console", (line) => {
    // A status that is no success is told there too.
    if (line.type() === "error" && !line.text().startsWith("Failed to load resource")) wrong.push(`the console says: ${line.text()}`);
  });
  page.on("request", (request) => {
    const sent = [request.url(), request.postData() ?? "", JSON.stringify(request.headers())].join(" ");
    if (!request.url().startsWith(url)) wrong.push(`another origin is asked: ${request.url()}`);
    for (const secret of secrets) {
      if (sent.includes(secret) || sent.includes(encodeURIComponent(secret))) wrong.push(`a password leaves the page: ${request.url()}`);
    }
  });
  const looked = async (what) => {
    const [needs, has] = await page.evaluate(() => [document.scrollingElement.scrollWidth, document.documentElement.clientWidth]);
    check(needs <= has, `${name}, ${what}: the page is ${needs} wide on a screen of ${has}`);
    check((await page.locator("h1").count()) === 1, `${name}, ${what}: a page has one heading`);
    check(wrong.length === 0, `${name}, ${what}: ${wrong.join("; ")}`);
    if (shots) await page.screenshot({ path: `${shots}/${name}-${what}.png`, fullPage: true });
  };
  const open = async (path, what, status = 200) => {
    const answer = await page.goto(url + path);
    check(answer.status() === status, `${name}, ${path}: status ${answer.status()}`);
    await looked(what);
  };
  return { page, open, looked, close: () => context.close() };
}

const says = (page, words) => page.getByText(words, { exact: false }).first().waitFor();

/** By keys alone: the first field has the focus when the page opens. */
async function signIn(page, name, secret) {
  await page.goto(`${url}/login`);
  await page.keyboard.type(name);
  await page.keyboard.press("Tab");
  await page.keyboard.type(secret);
  await page.keyboard.press("Enter");
}

async function asAdmin() {
  const { page, open, looked, close } = await visitor("light", { viewport: { width: 1100, height: 800 } }, [password, "not the password", "bob's new one"]);
  await page.goto(url);
  await page.waitForURL("**/login?next=*");
  await looked("sign-in");
  await signIn(page, "admin", "not the password");
  await says(page, "User name or password is wrong");
  await looked("wrong-password");
  await signIn(page, "Admin", password);
  await page.waitForURL("**/catalogue");
  await says(page, content.title);
  await looked("catalogue");
  await open("/catalogue?q=nothing-like-it", "nothing-found");
  await says(page, "Nothing has these words");

  // A rule, and back.
  await open(`/content/${content.id}`, "content");
  await page.getByLabel("Whom").selectOption("group");
  await page.getByLabel("Name").fill("staff");
  await page.getByLabel("Until (UTC)").fill("2040-12-24T20:00");
  await page.getByRole("button", { name: "Set the rule" }).click();
  await says(page, "until 24 Dec 2040, 20:00 UTC");
  await looked("rule");
  await page.getByRole("button", { name: "Remove the rule about group staff" }).click();
  await page.getByText("group staff").waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Rules of the group" }).click();
  await looked("group");

  // An account, by keys: its form is what Tab leads to.
  await open("/admin/users", "users");
  await page.getByLabel("User name").focus();
  await page.keyboard.type("bob");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.type("short");
  await page.keyboard.press("Tab");
  await page.keyboard.type("short");
  await page.keyboard.press("Enter");
  check(page.url().endsWith("/admin/users") && (await page.getByRole("link", { name: "bob" }).count()) === 0, "a short password is not taken");
  for (const label of ["New password", "The same again"]) await page.getByLabel(label).fill("smile 😀 smile");
  await page.keyboard.press("Enter");
  await says(page, "not every keyboard");
  for (const label of ["New password", "The same again"]) await page.getByLabel(label).fill("bob's new one");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "bob" }).waitFor();
  await open("/admin/users/bob", "user");

  // Bob signs in elsewhere, is banned, and is out.
  const bob = await visitor("bob", {}, ["bob's new one"]);
  await signIn(bob.page, "bob", "bob's new one");
  await bob.page.waitForURL("**/catalogue");
  await bob.open("/admin/users", "not-for-bob", 403);
  await page.getByLabel("Banned").check();
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator(".facts").getByText("banned").waitFor();
  await bob.page.goto(`${url}/catalogue`);
  await bob.page.waitForURL("**/login?next=*");
  await signIn(bob.page, "bob", "bob's new one");
  await says(bob.page, "This account is banned");
  await bob.close();

  await open("/sessions", "sessions");
  await open("/password", "password");
  await open("/admin/trackers", "trackers");
  await open("/admin/sessions", "all-sessions");
  await open("/admin/audit", "audit");
  await page.getByLabel("What").selectOption("ban");
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForURL("**what=ban*");
  check((await page.locator("tbody tr").count()) === 1, "the log has one ban");
  await looked("audit-of-bans");
  await open("/no/such/page", "missing", 404);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/login*");
  await page.goto(`${url}/sessions`);
  await page.waitForURL("**/login?next=*");
  await close();
}

/** Looks at all pages again. */
async function looksAround(name, options) {
  const { page, open, close } = await visitor(name, options, [password]);
  await signIn(page, "admin", password);
  await page.waitForURL("**/catalogue");
  const pages = ["/catalogue", `/content/${content.id}`, "/groups/films", "/sessions", "/password", "/admin/users", "/admin/users/admin",
    "/admin/trackers", "/admin/sessions", "/admin/audit"];
  for (const path of pages) await open(path, path.slice(1).replaceAll("/", "-"));
  await close();
}

try {
  await asAdmin();
  await looksAround("dark", { viewport: { width: 1100, height: 800 }, colorScheme: "dark" });
  await looksAround("phone", { viewport: { width: 390, height: 780 }, hasTouch: true });
  console.log("all is well");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
