"""Least squares for a handful of coefficients, none of which may be negative."""

from collections.abc import Sequence

Row = Sequence[float]


def fit(rows: Sequence[Row], targets: Sequence[float]) -> list[float]:
    """Coefficients, one for each column, that come nearest to the targets, in relative terms.

    A coefficient that would be negative is zero, and the others are fitted without it.
    """
    used = list(range(len(rows[0])))
    while used:
        found = _solve([[row[i] / target for i in used] for row, target in zip(rows, targets, strict=True)])
        if found is not None and min(found) >= 0:
            whole = [0.0] * len(rows[0])
            for i, value in zip(used, found, strict=True):
                whole[i] = value
            return whole
        # The column that is negative most, or one of those that depend on each other, has to go.
        worst = min(range(len(used)), key=lambda i: found[i]) if found is not None else len(used) - 1
        del used[worst]
    return [0.0] * len(rows[0])


def mean_residual(rows: Sequence[Row], targets: Sequence[float], coefficients: Row) -> float:
    """Mean relative error, without sign."""
    errors = [
        abs(sum(x * c for x, c in zip(row, coefficients, strict=True)) / target - 1)
        for row, target in zip(rows, targets, strict=True)
    ]
    return sum(errors) / len(errors)


def _solve(rows: Sequence[Row]) -> list[float] | None:
    """Of the rows times the coefficients being one each; None where the columns depend on each other."""
    size = len(rows[0])
    scale = [max(abs(row[i]) for row in rows) or 1.0 for i in range(size)]
    scaled = [[row[i] / scale[i] for i in range(size)] for row in rows]
    matrix = [
        [sum(row[i] * row[j] for row in scaled) for j in range(size)] + [sum(row[i] for row in scaled)]
        for i in range(size)
    ]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(matrix[k][i]))
        if abs(matrix[pivot][i]) < 1e-9:
            return None
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        for k in range(size):
            if k != i:
                factor = matrix[k][i] / matrix[i][i]
                matrix[k] = [a - factor * b for a, b in zip(matrix[k], matrix[i], strict=True)]
    return [matrix[i][size] / matrix[i][i] / scale[i] for i in range(size)]
