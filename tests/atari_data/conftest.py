import pytest


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SILOT_TF_CACHE_DIR", str(tmp_path / "cache"))
