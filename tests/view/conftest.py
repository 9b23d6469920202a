from collections.abc import Iterator

import chromium
import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Page]:
    if chromium.PROGRAM is None:
        pytest.skip("there is no Chromium")
    with chromium.chromium() as page:
        yield page
