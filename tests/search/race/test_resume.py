"""What a study that was made before changes of the settings of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from augsearch.policies import UserError
from augsearch.search.console import Display
from augsearch.search.inputs.identity import identity_of
from augsearch.search.inputs.prepare import open_data
from augsearch.search.race.resume import TRIALS_OF_FIRST, as_begun, space_for, study_of, with_its_trials
from augsearch.search.settings.settings import Settings
from augsearch.search.space.space import BASELINE_POLICIES, EDITION, PHOTO_POLICIES
from augsearch.search.studies.study import open_storage, space_of
from tests.pictures import make_noise


def settings_of(stripes: str, **fields: Any) -> Settings:
    return Settings.of(data=stripes, study="s", proxy_model="tiny", epochs=1, teacher="none", **fields)


def made_before(settings: Settings) -> optuna.Study:
    """A study of the first edition, which says nothing of its space."""
    storage = open_storage(settings.tracking.storage)
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
    study.set_user_attr("identity", identity_of(settings, open_data(settings, Display())))
    return study


def test_a_study_made_before_keeps_its_space_and_its_trials(stripes: str) -> None:
    settings = settings_of(stripes)
    data = open_data(settings, Display())
    made_before(settings)
    assert with_its_trials(settings, data).search.trials == TRIALS_OF_FIRST
    for given in (4, 5, 40):
        assert with_its_trials(settings_of(stripes, trials=given), data).search.trials == given
    study = study_of(settings, data, "s")
    assert space_of(study, settings.space).edition == 1
    assert [trial.user_attrs["baseline"] for trial in study.trials] == list(BASELINE_POLICIES)[:4]
    assert not any({"border", "interpolation"} & trial.params.keys() for trial in study.trials)


def test_a_new_study_has_the_space_of_today_and_the_mean_colour_of_its_images(stripes: str) -> None:
    settings = settings_of(stripes)
    data = open_data(settings, Display())
    assert with_its_trials(settings, data) is settings
    assert settings.search.trials == len(BASELINE_POLICIES) + 12 == 18
    with pytest.raises(UserError, match="trials must be at least 6, the baselines, got 5"):
        with_its_trials(settings_of(stripes, trials=5), data)
    space = space_of(study_of(settings, data, "s"), settings.space)
    train = data.images.images[data.splits.train]
    assert space.edition == EDITION
    assert space.mean == (round(float(train.mean())),) * 3
    again = space_of(study_of(settings, data, "s"), settings.space)
    assert again == space


RESNET = "torchvision:resnet18"


@pytest.mark.parametrize(
    ("recorded", "given", "weights"),
    [
        ({"final_model": RESNET}, {"final_model": RESNET}, "none"),
        ({"proxy_model": RESNET}, {"proxy_model": RESNET}, "none"),
        ({"final_model": RESNET, "transfer": "none"}, {"final_model": RESNET}, "none"),
        ({"final_model": RESNET, "transfer": "head"}, {"final_model": RESNET}, "auto"),
        ({}, {"final_model": RESNET}, "auto"),
        ({"final_model": RESNET}, {"final_model": RESNET, "weights": "hub"}, "hub"),
        ({"final_model": RESNET}, {"final_model": RESNET, "transfer": "full"}, "auto"),
    ],
)
def test_what_began_from_scratch_goes_on_so_unless_it_is_told_otherwise(
    recorded: dict[str, Any], given: dict[str, Any], weights: str
) -> None:
    settings = Settings.of(study="s", **given)
    assert as_begun(settings, settings) is settings  # there is no such study
    study = optuna.create_study(storage=open_storage(settings.tracking.storage), study_name="s")
    # As versions recorded it whose default of --weights was none.
    study.set_user_attr("settings", {**Settings.of(**recorded).flat(), "weights": None})
    assert as_begun(settings, settings).transfer.weights == weights
    study.set_user_attr("settings", Settings.of(**recorded).flat())
    assert as_begun(settings, settings).transfer.weights == settings.transfer.weights


def test_a_study_keeps_the_layer_decay_that_every_family_had_once() -> None:
    settings = Settings.of(study="s", proxy_model="torchvision:vit_b_16")
    study = optuna.create_study(storage=open_storage(settings.tracking.storage), study_name="s")
    study.set_user_attr("settings", {**settings.flat(), "layer_decay": 1.0})
    assert as_begun(settings, settings).transfer.layer_decay == 1.0
    study.set_user_attr("settings", settings.flat())
    assert as_begun(settings, settings).transfer.layer_decay is None


def test_a_study_that_always_cropped_photos_goes_on_so() -> None:
    settings = Settings.of(study="s")
    study = optuna.create_study(storage=open_storage(settings.tracking.storage), study_name="s")
    study.set_user_attr("settings", {**settings.flat(), "crop_scale": 0.35})
    assert as_begun(settings, settings).final.crop_scale == 0.35
    told = Settings.of(study="s", crop_scale=0.6)
    assert as_begun(told, told).final.crop_scale == 0.6
    study.set_user_attr("settings", settings.flat())
    assert as_begun(settings, settings).final.crop_scale is None


def test_only_photos_are_cropped_and_erased_and_a_study_remembers(tmp_path: Path, stripes: str) -> None:
    photos = make_noise(tmp_path / "photos", 12)
    for source, fields, cropped, resized in (
        (stripes, {}, False, False),
        (photos, {"final_model": "medium"}, True, False),
        (photos, {"final_model": "lite0"}, True, True),
        (photos, {"final_model": "lite0", "final": False}, True, False),
        (photos, {"final_model": "lite0", "image_size": 32}, True, True),
    ):
        settings = settings_of(source, **fields)
        space = space_for(settings, open_data(settings, Display()))
        assert (space.photos, space.resized) == (cropped, resized), fields
    data = open_data(settings, Display())
    assert with_its_trials(settings, data).search.trials == len(PHOTO_POLICIES) + 12
    with pytest.raises(UserError, match="trials must be at least 8, the baselines, got 7"):
        with_its_trials(settings_of(photos, trials=7, final_model="lite0", image_size=32), data)
    study = study_of(settings, data, "s")
    assert space_of(study, settings.space) == space
    study.set_user_attr("space", {"edition": 2, "mean": [1, 2, 3]})  # as it was written then
    before = space_of(study, settings.space)
    assert (before.edition, before.photos, before.resized) == (2, False, False)


def test_a_study_from_before_gradients_were_clipped_goes_on_so() -> None:
    settings = Settings.of(study="s", proxy_model="torchvision:vit_b_16")
    study = optuna.create_study(storage=open_storage(settings.tracking.storage), study_name="s")
    before = {name: value for name, value in settings.flat().items() if name != "clip"}
    study.set_user_attr("settings", before)
    assert as_begun(settings, settings).final.clip == 0.0
    study.set_user_attr("settings", settings.flat())
    assert as_begun(settings, settings).final.clip is None
