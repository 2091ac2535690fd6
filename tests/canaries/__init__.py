"""How TensorFlow, Keras and companions behave today where it surprised us.

Every test asserts the surprise itself. When one fails after an upgrade, the library has changed: read the rule that the
test protects, see whether it is still needed, and mend the test.
"""
