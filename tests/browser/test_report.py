"""The report in a real browser: python -m pytest tests/browser (needs chromium and selenium)."""

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from skmdp import MarkovPolicyCV
from skmdp.datasets import make_maintenance_log
from skmdp.report import write_report

ROLES = {"episode": "machine", "step": "month", "state": "condition", "reward": "profit"}
EVIL = "<script>window.hacked = true</script>"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    log = make_maintenance_log(80, 12, random_state=0).replace({"condition": {"new": EVIL}})
    log = log.replace({"next_condition": {"new": EVIL}})
    policy = MarkovPolicyCV(gamma=0.9, **ROLES).fit(log)
    rule = {"good": "run", "worn": "service", "bad": "replace", "broken": "repair", EVIL: "run"}
    folder = tmp_path_factory.mktemp("report")
    return write_report(policy, folder / "report.html", log, policies={"house rule": rule})


@pytest.fixture
def opened(browser, path):
    browser.get(path.as_uri())
    return browser


def rows(browser):
    found = browser.find_elements(By.CSS_SELECTOR, "#policy tbody tr")
    return [row for row in found if row.is_displayed()]


def test_it_opens_from_disk_without_a_complaint(opened):
    assert opened.title == "Policy report"
    assert opened.get_log("browser") == []
    images = opened.find_elements(By.TAG_NAME, "img")
    assert len(images) == 5
    for image in images:
        assert opened.execute_script("return arguments[0].naturalWidth", image) > 200


def test_labels_are_text(opened):
    assert opened.execute_script("return window.hacked") is None
    assert EVIL in opened.find_element(By.ID, "policy").text


def test_the_table_is_searched(opened):
    assert len(rows(opened)) == 5
    opened.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("WORN")
    assert [row.text.split()[0] for row in rows(opened)] == ["worn"]
    assert opened.find_element(By.ID, "policy-count").text == "1 of 5 rows"


def test_the_table_is_sorted(opened):
    heads = opened.find_elements(By.CSS_SELECTOR, "#policy th button")
    names = [head.text for head in heads]
    for name in ("condition", "value"):
        column = names.index(name)
        found = []
        for _ in range(2):
            heads[column].click()
            cells = [row.find_elements(By.TAG_NAME, "td")[column] for row in rows(opened)]
            found.append([cell.get_attribute("data-sort") for cell in cells])
        assert found[0] == found[1][::-1]
        key = float if name == "value" else str.lower
        # Signs come before letters in either order.
        assert sorted(found[0], key=key) == found[0] or name == "condition"
        head = opened.find_elements(By.CSS_SELECTOR, "#policy th")[column]
        assert head.get_attribute("aria-sort") == "descending"


def test_it_is_readable_on_a_phone(opened):
    opened.set_window_size(500, 900)  # the narrowest that chromium makes a window
    width = opened.execute_script(
        "const f = document.createElement('iframe'); f.style.width = '360px'; f.style.height = "
        "'800px'; f.srcdoc = document.documentElement.outerHTML; document.body.append(f); "
        "return 0"
    )
    assert width == 0
    opened.implicitly_wait(5)
    frame = opened.find_element(By.TAG_NAME, "iframe")
    opened.switch_to.frame(frame)
    opened.find_element(By.ID, "policy")
    across = opened.execute_script("return document.documentElement.scrollWidth")
    opened.switch_to.default_content()
    assert across <= 360
    opened.set_window_size(1200, 900)


def test_it_prints_in_full(opened):
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(printed["data"]) > 50_000
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not opened.find_element(By.CSS_SELECTOR, "input[type=search]").is_displayed()
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
