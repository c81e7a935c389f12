// Walks through the Portal's pages in Chromium, as people do: by what they read on them, and by the keyboard. On standard input come
// the facts as JSON (see portal_browser.rs), as arguments the names of the steps to take; what is wrong ends it with a word about it.
import { readFileSync } from "node:fs";
import { check, launch, tells, Visitor } from "./visitor.mjs";

const facts = JSON.parse(readFileSync(0, "utf8"));
const { admin, zoe, stale, films, words } = facts;
const bob = { first: "bob's first one", second: "bob's second one" };
const desk = { viewport: { width: 1100, height: 800 } }, phone = { viewport: { width: 390, height: 780 }, hasTouch: true };

const browser = await launch(facts.pin);
const at = { url: facts.url, shots: facts.shots, secrets: [admin, ...zoe.typed, "not the password", "carol's password", ...Object.values(bob)] };
const enter = (name, options) => Visitor.enter(browser, at, name, options);

/** The walk of an admin. */
async function rules(me) {
  const { page } = me;
  await page.goto(at.url);
  await page.waitForURL("**/login?next=*");
  await me.look("sign-in");
  await me.signIn("admin", "not the password");
  await me.says("The user name or the password is wrong.");
  check(await me.field("Password").evaluate((field) => field === document.activeElement), "the field that is wrong has the focus");
  await me.look("wrong-password");
  await me.signIn("Ädmin", "not the password");
  await me.says("A user name has only letters a to z, digits");
  const before = me.sent.length;
  await me.signIn("admin", "think 🤔");
  await me.says("a character that not every system knows");
  check(!me.sent.slice(before).some((what) => what.includes("/api/v1/login")), "nothing is sent of a password that cannot be");
  await me.signIn("Admin", admin);
  await page.waitForURL("**/catalogue");
  // The watch sees what is sent, also inside of SCRAM.
  check(me.sent.some((what) => tells(what, "n,,n=admin")), "the exchange was seen");
}

async function catalogue(me) {
  const { page } = me;
  await me.says("Lecture 60");
  check((await page.locator(".cards > li").count()) === 50, "a page of the catalogue has 50 entries");
  await me.link("More").click();
  await me.says("Lecture 1");
  await me.field("Words in title or group").fill("SWARMS");
  await me.field("Group").selectOption("films & series");
  await me.button("Search").click();
  await me.says(films.title);
  check((await page.locator(".cards > li").count()) === 1, "one talk is found");
  check((await me.field("Group").inputValue()) === "films & series", "the group stays chosen");
  await me.look("catalogue");
  await me.open("/catalogue?q=nothing-like-it", "nothing-found");
  await me.says("Nothing was found.");
}

async function content(me) {
  const { page } = me;
  await me.open(`/content/${films.id}`, "content");
  await page.getByText("Its swarm").click();
  await me.fill({ Name: "nobody", "Until (UTC)": "2040-12-24T20:00" });
  await me.field("Rule").selectOption("deny");
  await me.button("Set the rule").click();
  await me.says("There is no such user.");
  check((await me.field("Rule").inputValue()) === "deny", "what was chosen stays");
  check((await me.field("Until (UTC)").inputValue()) === "2040-12-24T20:00", "what was typed stays");
  await me.look("rule-about-nobody");
  await me.fill({ Name: "Zoe", "From (UTC)": "2041-01-01T00:00" });
  await me.button("Set the rule").click();
  await me.says("The policy would end before it begins.");
  await me.fill({ "From (UTC)": "" });
  await me.button("Set the rule").click();
  await me.says("until 24 Dec 2040, 20:00 UTC");
  await me.field("Whom").selectOption("group");
  await me.fill({ Name: "everyone" });
  await me.button("Set the rule").click();
  await me.cell("group everyone").waitFor();
  await me.look("rules");
  await me.button("Remove the rule about user zoe").click();
  await me.cell("user zoe").waitFor({ state: "detached" });
  await me.link("films & series").last().click();
  await page.waitForURL("**/admin/groups/*");
  await me.look("group");
  await me.open("/admin/groups", "groups");
  await me.fill({ "Name of the group": "what comes" });
  await me.button("Open").click();
  await me.says("There is no rule about this group.");
  await me.field("Whom").selectOption("group");
  await me.fill({ Name: "staff" });
  await me.button("Set the rule").click();
  await me.cell("group staff").waitFor();
}

/** An account is made, by keys alone; its owner signs in elsewhere, changes the password, ends a session, and is banned. */
async function accounts(me) {
  const { page } = me;
  await me.open("/admin/users", "users");
  await me.tabTo(me.field("User name"));
  await page.keyboard.type("zoe");
  await me.tabTo(me.field("New password"));
  await page.keyboard.type("short");
  await me.tabTo(me.field("The same again"));
  await page.keyboard.type("short");
  await page.keyboard.press("Enter");
  check(!(await me.field("New password").evaluate((field) => field.validity.valid)), "a short password is not taken");
  await me.choose("joined by \u200d what nobody sees", "Add the user");
  await me.says("a character that not every system knows");
  await me.look("strange-password");
  await me.choose(bob.first, "Add the user", bob.second);
  await me.says("The two passwords differ.");
  await me.choose(bob.first, "Add the user");
  await me.says("This user name is taken.");
  check((await me.field("User name").inputValue()) === "zoe", "the name stays");
  await me.look("name-taken");
  await me.fill({ "User name": "Bob" });
  await me.field("The same again").fill(bob.first);
  await me.tabTo(me.field("New password"));
  await page.keyboard.type(bob.first);
  await page.keyboard.press("Enter");
  await me.says("The account is made.");
  await me.tabTo(me.link("bob"));
  await page.keyboard.press("Enter");
  await page.waitForURL("**/admin/users/bob");
  await me.look("user");
  await me.fill({ "User groups": "staff, a/b" });
  await me.button("Save").click();
  await me.says("without slashes");
  await me.look("groups-wrong");
  await me.fill({ "User groups": "staff, night shift" });
  await me.tabTo(me.button("Save"));
  await page.keyboard.press("Enter");
  await me.says("It is done.");
  await me.open("/admin/users/admin", "user-admin");
  await me.field("Role").selectOption("viewer");
  await me.button("Save").click();
  await me.says("This is the last admin.");

  const his = await enter("bob", phone), elsewhere = await enter("bob-elsewhere", desk);
  for (const one of [his, elsewhere]) {
    await one.signIn("bob", bob.first);
    await one.page.waitForURL("**/catalogue");
  }
  check((await his.field("Group").getByRole("option").allTextContents()).join() === "all groups,films & series,lectures", "his groups");
  await his.open("/catalogue?q=talk", "catalogue");
  await his.says(films.title);
  await his.open(`/content/${films.id}`, "content");
  check((await his.page.getByText("Who may have it").count()) === 0, "rules are not for him");
  await his.open("/admin/users", "not-for-bob", 403);
  await his.open("/sessions", "sessions");
  const other = his.page.getByRole("row").filter({ hasNotText: "this browser" }).getByRole("button");
  await other.click();
  await his.page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await elsewhere.page.goto(`${at.url}/sessions`);
  await elsewhere.page.waitForURL("**/login?next=*");
  await elsewhere.leave();

  await his.open("/password", "password");
  await his.choose(bob.second, "Change the password");
  await his.says("The password is changed.");
  await his.look("password-changed");
  await his.button("Sign out").click();
  await his.page.waitForURL("**/login");
  await his.signIn("bob", bob.first);
  await his.says("The user name or the password is wrong.");
  await his.signIn("bob", bob.second, "?next=%2Fsessions");
  await his.page.waitForURL("**/sessions");

  await me.open("/admin/users/bob", "user-bob");
  await me.field("Banned: signed out everywhere, and kept out").check();
  await me.button("Save").click();
  await page.locator(".facts").getByText("banned").waitFor();
  await his.page.getByRole("button", { name: "End" }).click();
  await his.says("The session has ended; sign in again.");
  await his.look("signed-out");
  await his.signIn("bob", bob.second);
  await his.says("This account is banned.");
  await his.look("banned");
  await his.leave();
}

async function operation(me) {
  const { page } = me;
  await me.open("/admin/trackers", "trackers");
  await me.button("Approve the new one").click();
  await me.button("Approve the new one").waitFor({ state: "detached" });
  await me.button("Revoke the known one").click();
  await me.button("Approve the known one").waitFor();
  await me.open("/admin/sessions", "all-sessions");
  await me.open("/admin/audit", "audit");
  check((await page.locator("tbody tr").count()) === 200, "a page of the log has 200 lines");
  await me.link("Earlier").click();
  await me.cell("first start").waitFor();
  await me.look("audit-earlier");
  await me.link("Newest").click();
  await me.field("What").selectOption("ban");
  await me.button("Show").click();
  await page.waitForURL("**what=ban*");
  check((await page.locator("tbody tr").count()) === 1, "the log has one ban");
  await me.field("Who").fill("Bob");
  await me.button("Show").click();
  await me.says("The log has nothing of this.");
  await me.look("audit-nothing");
  await me.field("What").selectOption("");
  await me.button("Show").click();
  await me.cell("set password").waitFor();
  check((await page.locator("tbody tr").allTextContents()).every((line) => line.includes("bob")), "all of it is bob's");

  await me.open("/no/such/page", "missing", 404);
  await me.open("/admin/users/nobody", "no-user", 404);
  await me.open("/logout", "unreadable", 405);
  await me.open(`/content/${facts.gone}/remove`, "remove");
  await me.button("Remove it").click();
  await page.waitForURL("**/catalogue");
  await me.open(`/content/${facts.gone}`, "no-content", 404);
  await me.button("Sign out").click();
  await page.waitForURL("**/login");
  await page.goto(`${at.url}/sessions`);
  await page.waitForURL("**/login?next=*");
}

/** A stranger makes an account, and finds nothing; Zoe's password is the same however it is typed. */
async function strangers(me) {
  await me.open("/register", "register");
  await me.fill({ "User name": "zoe" });
  await me.choose("carol's password", "Register");
  await me.says("This user name is taken.");
  await me.look("register-taken");
  await me.fill({ "User name": "carol" });
  await me.choose("carol's password", "Register");
  await me.says("The account is made.");
  await me.look("registered");
  await me.signIn("carol", "carol's password");
  await me.page.waitForURL("**/catalogue");
  await me.open("/catalogue?group=news", "nothing-found");
  await me.button("Sign out").click();
  for (const typed of zoe.typed) {
    await me.signIn("zoe", typed);
    await me.page.waitForURL("**/catalogue");
    await me.button("Sign out").click();
    await me.page.waitForURL("**/login");
  }
}

/** RFC 8265 §4.2: the browser takes the passwords that programs take, and makes the same of them. */
async function letters(me) {
  await me.page.goto(`${at.url}/login`);
  const faults = await me.page.evaluate(async (words) => {
    const forms = document.querySelector("script[type=module]").src;
    const { fault, normal } = await import(forms.replace("forms.js", "opaque.js"));
    const made = (typed) => (fault(typed) === undefined ? normal(typed) : null);
    return words.filter(([typed, hashed]) => made(typed) !== hashed).map(([typed]) => typed);
  }, words);
  check(faults.length === 0, `these are taken otherwise than by programs: ${faults.join(" ")}`);
}

/** What a person is told of a Portal that is not there, is not the one it says it is, or wants no more attempts; and without scripts. */
async function trouble(me) {
  const { page } = me;
  const answers = async (answer, sentence) => {
    await page.route("**/api/v1/login*", answer);
    await me.signIn("admin", admin);
    await me.says(sentence);
    check(page.url().includes("/login"), "nobody is signed in");
    await page.unroute("**/api/v1/login*");
  };
  await answers((route) => route.abort(), "The Portal does not answer.");
  const slow = { status: 429, headers: { "Retry-After": "7" }, json: { error: "slow_down", message: "too many attempts: wait 7 s" } };
  await answers((route) => route.fulfill(slow), "Too many attempts: wait 7 s.");
  // A proof of the right form that is not that of the Portal.
  const lie = async (route) => {
    const response = await route.fetch();
    const headers = response.headers(), said = headers["authentication-info"];
    if (said) {
      const proof = Buffer.from(`v=${Buffer.alloc(32, 7).toString("base64")}`).toString("base64");
      headers["authentication-info"] = said.replace(/data="?[^",]*"?/, `data="${proof}"`);
    }
    await route.fulfill({ response, headers });
  };
  await answers(lie, "This is not the Portal that knows your password.");
  await me.context.clearCookies();
  await me.look("not-the-portal");
  const bare = await enter("bare", { ...desk, javaScriptEnabled: false });
  for (const path of ["/login", "/register"]) {
    await bare.page.goto(at.url + path);
    await bare.page.locator("noscript p").waitFor();
  }
  await bare.leave();
}

/** Who signed in long ago has to do it again before the password can be changed. */
async function longAgo(me) {
  const [name, value] = stale.split(";")[0].split(/=(.*)/);
  await me.context.addCookies([{ name, value, url: at.url, secure: true, httpOnly: true }]);
  await me.open("/password", "password-stale");
  await me.button("Sign in again").click();
  await me.page.waitForURL("**/login?next=*");
  await me.typeLogin("admin", admin);
  await me.page.waitForURL("**/password");
  await me.field("New password").waitFor();
}

/** Looks at all pages once more. */
async function everything(me) {
  await me.open("/login", "sign-in");
  await me.open("/register");
  await me.signIn("admin", "not the password");
  await me.says("The user name or the password is wrong.");
  await me.look("wrong-password");
  await me.signIn("admin", admin);
  await me.page.waitForURL("**/catalogue");
  const pages = ["/catalogue?group=films+%26+series", "/catalogue?q=nothing-like-it", "/sessions", "/password", "/password?done=1", "/admin/groups",
    "/admin/groups/what%20comes", "/admin/users", "/admin/users/bob", "/admin/trackers", "/admin/sessions", "/admin/audit?what=set+password"];
  for (const path of pages) await me.open(path);
  await me.open(`/content/${films.id}`, "content");
  await me.fill({ Name: "nobody" });
  await me.button("Set the rule").click();
  await me.says("There is no such user.");
  await me.look("rule-about-nobody");
  await me.open(`/content/${films.id}/remove`, "remove");
  await me.open("/no/such/page", "missing", 404);
}

const steps = [
  ["light", desk, [rules, catalogue, content, accounts, operation]],
  ["stranger", desk, [strangers, letters, trouble]],
  ["long-ago", desk, [longAgo]],
  ["dark", { ...desk, colorScheme: "dark" }, [everything]],
  ["phone", phone, [everything]],
  ["phone-dark", { ...phone, colorScheme: "dark" }, [everything]],
];
try {
  for (const [name, options, walks] of steps.filter(([name]) => process.argv.includes(name))) {
    const me = await enter(name, options);
    for (const walk of walks) {
      await walk(me).catch(async (error) => {
        const shown = await me.page.locator("body").innerText().catch(() => "nothing");
        throw new Error(`${name}, ${walk.name}: ${error.message}\nat ${me.page.url()}, which shows:\n${shown}`);
      });
    }
    await me.leave();
  }
  console.log("all is well");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
