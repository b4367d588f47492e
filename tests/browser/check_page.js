// SPDX-License-Identifier: Apache-2.0
// Open pages in headless Chromium and say what is wrong with them; exit status 1 where anything is.
//
//     npm install --no-save puppeteer-core axe-core
//     node tests/browser/check_page.js output/scribble/evaluation/report.html --pictures output/browser
//
// At 1200 and 390 pixels, light and dark: nothing on the console, no request that leaves the file, nothing wider than the
// screen, nothing that axe-core calls serious or critical, and every box of "Show" hides its layer. --pictures keeps
// screenshots and the page as it prints. Chromium is $CHROMIUM, else chromium on the path.
"use strict";
const { execFileSync } = require("child_process");
const fs = require("fs");
const path = require("path");

const SCREENS = [1200, 390].flatMap((width) => ["light", "dark"].map((scheme) => ({ width, scheme })));

function wanted(name) {
  try {
    return require.resolve(name);
  } catch {
    console.error(`expected the packages of this check, got no ${name}: npm install --no-save puppeteer-core axe-core`);
    process.exit(2);
  }
}

function chromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      return execFileSync("which", [name]).toString().trim();
    } catch {
      continue;
    }
  }
  console.error("expected Chromium on the path or its file in $CHROMIUM, got none");
  process.exit(2);
}

// Layers that are still shown after their box was cleared, or hidden while it is ticked.
function layersThatDoNotSwitch() {
  const wrong = [];
  for (const box of document.querySelectorAll("input[id^=show-]")) {
    const layer = box.id.slice("show-".length);
    const drawn = [...document.querySelectorAll(`.slices .${CSS.escape(layer)}`)];
    for (const on of [false, true]) {
      const others = [...document.querySelectorAll("input[id^=show-]")];
      others.forEach((other) => (other.checked = other === box ? on : true));
      const shown = drawn.filter((element) => getComputedStyle(element).display !== "none").length;
      if (shown !== (on ? drawn.length : 0)) wrong.push(`${layer}: ${shown} of ${drawn.length} shown`);
    }
  }
  return wrong;
}

async function look(browser, file, { width, scheme }, axe, picture) {
  const page = await browser.newPage();
  const wrong = [];
  page.on("console", (message) => wrong.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`error: ${error}`));
  const own = `file://${path.resolve(file)}`;
  page.on("request", (request) => {
    if (!request.url().startsWith("data:") && request.url() !== own) wrong.push(`request: ${request.url()}`);
  });
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(own);
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (excess > 0) wrong.push(`${excess} pixels wider than the screen`);
  if (picture) {
    await page.screenshot({ path: `${picture}_${width}_${scheme}.png`, fullPage: true });
    if (width === SCREENS[0].width && scheme === "light") {
      await page.pdf({ path: `${picture}.pdf`, format: "A4" });
      await page.setViewport({ width: 794, height: 1123 }); // A4 at 96 dots an inch
      await page.emulateMediaType("print");
      await page.screenshot({ path: `${picture}_print.png`, fullPage: true });
      await page.emulateMediaType("screen");
      await page.setViewport({ width, height: 900 });
    }
  }
  wrong.push(...(await page.evaluate(layersThatDoNotSwitch)));
  await page.setBypassCSP(true); // or axe could not be put into a page that allows no scripts
  await page.reload();
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run());
  for (const { id, impact, nodes } of found.violations) {
    if (["serious", "critical"].includes(impact)) wrong.push(`axe ${id} (${impact}) at ${nodes[0].html.slice(0, 120)}`);
  }
  await page.close();
  return wrong;
}

async function main(words) {
  const at = words.indexOf("--pictures");
  const folder = at < 0 ? null : words.splice(at, 2)[1];
  if (!words.length || folder === undefined || words.some((word) => !fs.existsSync(word))) {
    console.error("usage: node tests/browser/check_page.js PAGE.html ... [--pictures FOLDER]");
    return 2;
  }
  const puppeteer = require(wanted("puppeteer-core"));
  const axe = fs.readFileSync(wanted("axe-core/axe.min.js"), "utf8");
  if (folder) fs.mkdirSync(folder, { recursive: true });
  // files of this machine alone are opened, and containers have no sandbox
  const browser = await puppeteer.launch({ executablePath: chromium(), args: ["--no-sandbox", "--disable-gpu"] });
  let count = 0;
  try {
    for (const [number, file] of words.entries()) {
      for (const screen of SCREENS) {
        const picture = folder && path.join(folder, `${number}_${path.basename(file, ".html")}`);
        const wrong = await look(browser, file, screen, axe, picture);
        wrong.forEach((text) => console.log(`${file}, ${screen.width} pixels, ${screen.scheme}: ${text}`));
        count += wrong.length;
      }
    }
  } finally {
    await browser.close();
  }
  console.log(`${words.length} pages, ${count} faults`);
  return count ? 1 : 0;
}

main(process.argv.slice(2)).then((status) => process.exit(status));
