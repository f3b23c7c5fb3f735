"""Every registered kind of camera keeps what the capture threads rely on. A kind without a rig is skipped by name."""

from __future__ import annotations

import pytest

from hardware.camera import CAMERAS
from tests.conformance import camera_checks as checks
from tests.conformance.benches import check_config
from tests.conformance.camera_rigs import RIGS
from workbench.core.errors import WorkbenchError

KINDS = sorted(CAMERAS.all())


@pytest.fixture(scope="module", params=KINDS)
def rig(request):
    plugin = CAMERAS.get(request.param)
    if plugin.missing_reason():
        pytest.skip(plugin.missing_reason())
    if request.param not in RIGS:
        pytest.skip(f"there is no way to have a '{request.param}' camera here")
    with RIGS[request.param]() as place:
        yield request.param, place


def maker(kind, place):
    return lambda: CAMERAS.build(kind, **place.settings)


@pytest.mark.parametrize("kind", KINDS)
def test_config_makes_a_form(kind):
    check_config(CAMERAS.get(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_settings_are_a_sentence(kind):
    if CAMERAS.get(kind).missing_reason():
        pytest.skip(CAMERAS.get(kind).missing_reason())
    with pytest.raises(WorkbenchError, match="wrong settings"):
        CAMERAS.build(kind, no_such_setting=1)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_for_attached_ones_never_raises_and_names_options_of_the_config(kind):
    plugin = CAMERAS.get(kind)
    for found in plugin.look() or ():
        assert found.id and found.title
        plugin.config(**found.options)
    if plugin.identity:
        assert plugin.discover is not None and hasattr(plugin.config(), plugin.identity)


def test_streams_are_known_before_opening_and_named_by_convention(rig):
    checks.check_streams(maker(*rig))


def test_shots_match_their_streams_and_count_upwards(rig):
    checks.check_shots(maker(*rig), rig[1].advance, rig[0])


def test_no_exposure_means_none_not_an_error(rig):
    checks.check_silence(maker(*rig))


def test_opening_again_after_closing_works_and_closing_twice_is_harmless(rig):
    checks.check_life(maker(*rig), rig[1].advance)


def test_opening_an_open_camera_starts_it_anew(rig):
    checks.check_open_while_open(maker(*rig), rig[1].advance)


def test_unplugging_is_a_device_error_with_a_next_step(rig):
    with RIGS[rig[0]]() as other:
        if other.unplug is None:
            pytest.skip(f"a '{rig[0]}' camera cannot go away here")
        checks.check_unplug(maker(rig[0], other), other.unplug)
