"""What ``from sipua import …`` promises."""

import pytest

import sipua


def test_public_names_are_sorted_and_load() -> None:
    assert sorted(sipua.__all__) == list(sipua.__all__)
    for name in sipua.__all__:
        assert getattr(sipua, name).__name__ == name


def test_the_list_of_names_and_the_list_of_their_homes_agree() -> None:
    assert set(sipua.__all__) == set(sipua._HOMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = sipua.Nonsense
