"""A browser that has the page open, as TensorBoard shows it."""

import contextlib
import csv
import json
import shutil
import urllib.parse

from selenium import webdriver
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# What TensorBoard's own page says: without a graphics card, of its icon, and of its fonts, which it
# seeks in the wrong place below a path prefix.
KNOWN_MESSAGES = (
    "Multiple instances of Three.js being imported.",
    "Automatic fallback to software WebGL has been deprecated.",
    "/favicon.ico - Failed to load resource: the server responded with a status of 404",
    ".woff2 - Failed to load resource: the server responded with a status of 404",
)


class Page:
    """The page in a browser. A part of it is named by its test id, or by a selector."""

    def __init__(self, driver, downloads):
        self.driver, self.downloads, self.view = driver, downloads, "overview"

    def set_up(self, width, height, scheme="light"):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)

    def open(self, board, view="overview", **state):
        """Open a view by its address; the state is what a link holds."""
        entries = {f"p.gradient_balance.{key}": state[key] for key in state}
        entries["p.gradient_balance.view"] = view
        query = urllib.parse.urlencode(entries, quote_via=urllib.parse.quote)
        self.follow(f"{board.url}#gradient_balance&{query}", view)

    def follow(self, link, view):
        # Another document first: to change what follows the # alone would load nothing.
        self.driver.get("about:blank")
        self.driver.get(link)
        self.enter()
        self.ready(view)

    def enter(self):
        """Turn to the plugin's frame in TensorBoard's page."""
        self.driver.switch_to.default_content()
        self.driver.switch_to.frame(
            self.until(lambda: self.all("iframe[src*=gradient_balance]"))[0]
        )

    def until(self, condition, seconds=60):
        return WebDriverWait(self.driver, seconds, 0.03).until(lambda _: condition())

    def ready(self, view):
        """Wait until a view is drawn."""
        self.view = view
        self.until(lambda: self.run("return document.body?.dataset.ready") == view)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def find(self, part):
        is_selector = part.startswith((".", "#", "["))
        return self.driver.find_element(
            "css selector", part if is_selector else f'[data-testid="{part}"]'
        )

    def text(self, part):
        # Plain hyphens are easier to compare with than dashes.
        return self.find(part).text.replace("\N{EN DASH}", "-")

    def get(self, part, attribute="value"):
        return self.find(part).get_attribute(attribute)

    def click(self, part, view=None):
        self.find(part).click()
        self.ready(view or self.view)

    def press(self, part, *keys):
        self.find(part).send_keys(*keys)
        self.ready(self.view)

    def choose(self, part, value):
        Select(self.find(part)).select_by_value(value)
        self.ready(self.view)

    def show(self, view):
        self.click(f"tab-{view}", view)

    def plot(self, chart, expression):
        """What a chart has drawn: an expression of Plotly's `data` and `layout`."""
        plot = self.find(f"[data-testid={chart}] .plot")
        return self.run(f"const {{data, layout}} = arguments[0]; return {expression}", plot)

    def column(self, name):
        """Texts of a column of the table of classes."""
        return self.run(
            """const table = document.querySelector("table.classes");
            const at = table.querySelector(`[data-column=${arguments[0]}]`).cellIndex;
            return [...table.tBodies[0].rows].map((row) => row.cells[at].innerText);""",
            name,
        )

    def beyond(self, width):
        """Test ids of what reaches beyond a width in pixels, or the page itself."""
        return self.run(
            """const parts = [...document.querySelectorAll("[data-testid]")];
            const wide = parts.filter((e) => e.getBoundingClientRect().right > arguments[0]);
            const page = document.documentElement.scrollWidth > arguments[0] ? ["page"] : [];
            return [...page, ...wide.map((e) => e.dataset.testid)];""",
            width,
        )

    def reload_data(self):
        """Press TensorBoard's reload button, and wait until the page has asked anew and drawn."""
        script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"

        def asked():
            return sum(name.endswith("/runs") for name in self.run(script))

        before = asked()
        self.driver.switch_to.default_content()
        self.find(".reload-button").click()
        self.enter()
        self.until(lambda: asked() > before)
        self.ready(self.view)

    def download(self, button):
        """Press a button and return the file that comes."""
        for file in self.downloads.iterdir():
            file.unlink()
        self.find(button).click()
        # Chromium gives the file its name when it is whole.
        return self.until(lambda: list(self.downloads.glob(f"*.{button.split('-')[-1]}")))[0]

    def download_rows(self):
        with self.download("download-csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def download_json(self):
        return json.loads(self.download("download-json").read_text())

    def console(self):
        """Warnings and errors since the last call, without TensorBoard's own."""
        messages = [entry["message"] for entry in self.driver.get_log("browser")]
        return [text for text in messages if not any(known in text for known in KNOWN_MESSAGES)]


@contextlib.contextmanager
def start(downloads):
    """A page in a new browser, which puts files into a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # Containers run as root, where Chromium has no sandbox, and share little memory.
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER)) as driver:
        behaviour = {"behavior": "allow", "downloadPath": str(downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
        yield Page(driver, downloads)
