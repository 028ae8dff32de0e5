"""Macro F1 by its definition and beside scikit-learn's, and the confusion matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from learning.tasks import load_task
from learning.tasks.classification import confusion, macro_f1

loss = load_task("classification").loss
pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def test_its_loss_is_one_minus_macro_f1() -> None:
    labels, answers = np.array([0.0, 0, 1, 1]), np.array([0.0, 0, 1, 0])
    # class 0: precision 2/3, recall 1 -> F1 0.8; class 1: precision 1, recall 1/2 -> F1 2/3
    assert loss(labels, answers) == pytest.approx(1 - (0.8 + 2 / 3) / 2)
    assert loss(labels, labels) == 0


def test_a_class_that_never_was_true_does_not_count_of_itself() -> None:
    assert loss(np.array([0.0, 1, 1]), np.array([3.0, 1, 1])) == pytest.approx(0.5)


@given(pairs)
def test_macro_f1_and_confusion_are_scikit_learn_s(drawn: list[tuple[int, int]]) -> None:
    labels, answers = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    theirs = f1_score(labels, answers, labels=np.unique(labels), average="macro", zero_division=0)
    assert macro_f1(labels, answers) == pytest.approx(theirs, rel=1e-14)
    assert confusion(labels, answers, range(4)).tolist() == confusion_matrix(labels, answers, labels=range(4)).tolist()


def test_confusion_has_a_row_a_class() -> None:
    assert confusion(np.array([0.0, 1, 1]), np.array([0.0, 0, 1]), (0, 1, 2)).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_nothing_is_learnt_from_one_class() -> None:
    task = load_task("classification")
    assert task.lacks(np.array([2.0, 2.0, 2.0])) == "all 3 rows to learn from have the label 2"
    assert task.lacks(np.array([2.0, 1.0])) == ""
