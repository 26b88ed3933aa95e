"""One extension of Ray Model Server for each of its four entry points; `docs/extending.md` explains them."""
