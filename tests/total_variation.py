"""Minimisers of ``f(M x) + weight TV(x)`` on tiny images, by another method and in NumPy alone."""

import numpy as np


def difference_matrix(shape, spacing=1.0):
    """Forward differences, zero at the last index, as a dense array (axes, voxels, voxels)."""
    size = int(np.prod(shape))
    spacing = np.broadcast_to(spacing, len(shape))
    matrix = np.zeros((len(shape), size, size))
    for index in np.ndindex(*shape):
        here = np.ravel_multi_index(index, shape)
        for axis in range(len(shape)):
            if index[axis] + 1 < shape[axis]:
                there = np.ravel_multi_index(tuple(i + (k == axis) for k, i in enumerate(index)), shape)
                matrix[axis, here, here], matrix[axis, here, there] = -1 / spacing[axis], 1 / spacing[axis]
    return matrix


def total_variation(x, spacing=1.0):
    return np.sqrt((np.einsum("aij,j", difference_matrix(x.shape, spacing), x.ravel()) ** 2).sum(0)).sum()


def fit_value(fit, q, data, weights=1.0, background=0.0):
    if fit == "least_squares":
        return np.sum(weights * (q - data) ** 2) / 2
    if fit == "l1":
        return np.sum(weights * np.abs(q - data))
    mean = q + background
    return np.sum(weights * (mean - data + np.where(data > 0, data * np.log(np.where(data > 0, data, 1) / mean), 0)))


def prox_fit(fit, v, step, data, weights=1.0, background=0.0):
    """argmin_q step f(q) + |q - v|^2 / 2."""
    s = step * weights
    if fit == "least_squares":
        return (v + s * data) / (1 + s)
    if fit == "l1":
        return data + np.sign(v - data) * np.maximum(np.abs(v - data) - s, 0)
    mean = v + background - s
    return (mean + np.sqrt(mean**2 + 4 * s * data)) / 2 - background


def minimiser(
    matrix,
    data,
    shape,
    tv_weight,
    *,
    fit="least_squares",
    spacing=1.0,
    lower=-np.inf,
    upper=np.inf,
    weights=1.0,
    background=0.0,
    num_iters=3000,
):
    """By the alternating direction method with a variable for each of M x, D x and x, and a dense solve."""
    d = difference_matrix(shape, spacing)
    axes, size = d.shape[:2]
    stacked = np.vstack([matrix, d.reshape(-1, size), np.eye(size)])
    solve = np.linalg.inv(stacked.T @ stacked) @ stacked.T
    rays = len(matrix)
    lower, upper = (np.broadcast_to(bound, shape).ravel() for bound in (lower, upper))
    split, dual = np.zeros(len(stacked)), np.zeros(len(stacked))
    for _ in range(num_iters):
        image = stacked @ (solve @ (split - dual))
        target = image + dual
        slopes = target[rays:-size].reshape(axes, size)
        length = np.sqrt((slopes**2).sum(0))
        shorter = np.maximum(1 - tv_weight / np.where(length > 0, length, 1), 0)
        split = np.concatenate(
            [
                prox_fit(fit, target[:rays], 1.0, data, weights, background),
                (shorter * slopes).ravel(),
                np.clip(target[-size:], lower, upper),
            ]
        )
        dual = target - split
    return split[-size:].reshape(shape)
