"""What the docstring below each field of a model says, by the key that stands in a document.

pydantic can collect these itself, but does so for every model at every start, by reading the source again; here it is
done where somebody is to be told: in a schema or in the hint about a missing key.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field of `model`, its own and the inherited; empty where the source is not to be had."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= _own(each)
    return {str(field.alias): found[name] for name, field in model.model_fields.items() if name in found}


def _own(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings in the body of one class."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
