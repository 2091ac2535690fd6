"""What every model must do, over every file in `gin_configs/models`.

A new model joins by its gin file, which binds the macro `MODEL`. It may bring `overlays/<name of the file>.gin`, which
shrinks it to test size and states exceptions through `conformance.Case` (see `cases.py`).
"""
