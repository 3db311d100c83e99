// A person in headless Chromium lets the application in. Prints what the application tells, and what axe finds.
// Arguments: the url of playwright-core, the path of axe, the path of Chromium, the application, the FHIR base, the password.
import { readFileSync } from "node:fs";

const [playwright, axe, chromium, app, base, password] = process.argv.slice(2);
const { chromium: browserType } = await import(playwright);
const browser = await browserType.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});
const context = await browser.newContext({ locale: "en-GB", viewport: { width: 360, height: 740 } });
const page = await context.newPage();
const refused = [];
const violations = {};
page.on("console", (message) => {
  if (/Content Security Policy/i.test(message.text())) refused.push(message.text());
});

async function look(name) {
  await page.evaluate(readFileSync(axe, "utf8"));
  const { violations: found } = await page.evaluate(() => window.axe.run());
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  violations[name] = [...found.map((each) => each.id), ...(wide ? ["wider than the screen"] : [])];
}

await page.goto(`${app}/?iss=${encodeURIComponent(base)}`);
await page.getByLabel("Login").waitFor();
await look("login");
await page.getByRole("button", { name: "Log in" }).click();
await look("login with errors");
await page.getByLabel("Login").fill("demo-mother");
await page.getByLabel("Password").fill(password);
await page.getByRole("button", { name: "Log in" }).click();
await page.getByText("Choose the record").first().waitFor();
await look("records");
await page.getByLabel(/my record/).check();
await page.getByRole("button", { name: "Continue" }).click();
await page.getByText("What may it read?").waitFor();
await look("consent");
await page.getByRole("button", { name: "Let it in" }).click();
await look("consent with errors");
await page.getByLabel(/All that it asks for/).check();
await page.getByLabel(/come back/).check();
await page.getByLabel("One day").check();
await page.getByRole("button", { name: "Let it in" }).click();
await page.waitForURL(`${app}/**`);
await page.waitForFunction(() => document.getElementById("told")?.textContent);
const told = JSON.parse(await page.textContent("#told"));
const root = new URL(base).origin;
for (const [name, path] of [["applications", "/apps"], ["leaving", "/logout"], ["expired", "/authorize/consent"]]) {
  await page.goto(root + path);
  await look(name);
}
await page.emulateMedia({ colorScheme: "dark" });
await page.goto(`${root}/apps`);
await look("applications in the dark");
await browser.close();
console.log(JSON.stringify({ told, violations, refused }));
