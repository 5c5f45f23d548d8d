"""What settings are called and what they mean, in plain words. One that isn't named here appears with the words that
the interface for programs has for it, so that a new setting never has to wait for this page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.ui.words import N_


@dataclass(frozen=True, kw_only=True)
class Group:
    """Settings that belong together; ``closed`` where few people ever need them."""

    key: str
    title: str
    about: str
    names: Sequence[str]
    closed: bool = False


GROUPS = (
    Group(
        key="asking",
        title=N_("What is asked next"),
        about=N_("How Winnow chooses the images that people are asked about. The default is a good choice for most."),
        names=("strategy", "cold_start", "cold_labels_per_class", "initial", "batch_size", "mode", "queue_factor",
               "holdout_size"),
    ),
    Group(
        key="stopping",
        title=N_("When to stop"),
        about=N_("The project finishes by itself as soon as one of these is met. An empty field never stops it."),
        names=("label_budget", "target_accuracy", "max_rounds", "stop_unsure_share", "unsure_below", "stop_plateau",
               "plateau_rounds", "stop_training_error", "stop_agreement", "agreement_rounds"),
    ),
    Group(
        key="auto",
        title=N_("What the model may label itself"),
        about=N_("Images that the model is sure enough of need no person. People check a share of them unknowingly."),
        names=("auto_label", "auto_label_precision", "auto_label_audit", "auto_label_random"),
    ),
    Group(
        key="people",
        title=N_("People"),
        about=N_("How labelling works for those who do it."),
        names=("lease_seconds", "suggestions", "map_each_round", "label_price", "currency"),
    ),
    Group(
        key="quality",
        title=N_("How good answers are"),
        about=N_("Several people for each image, questions whose answer is known, and what follows from them."),
        names=("overlap", "agreement", "overlap_max", "consensus", "gold_rate", "quality_floor", "quality_golds",
               "weigh_labels"),
    ),
    Group(
        key="learning",
        title=N_("How the model learns"),
        about=N_("Which network, and how it is trained. What is left empty is chosen by how much is labelled."),
        names=("train_mode", "arch", "image_size", "channels", "epochs", "learning_rate", "dropout", "batch_norm",
               "recipe", "seed"),
        closed=True,
    ),
)  # fmt: skip
REST = Group(key="rest", title=N_("Everything else"), about=N_("Rarely of interest."), names=(), closed=True)
LEFT_OUT = frozenset({"measure", "alpha", "clusters", "strategy_options"})
"""Shown as options of the strategies that have them."""

WORDS: Mapping[str, tuple[str, str]] = {
    "strategy": (N_("Strategy"), N_("How images are chosen. Each is described below, with its options.")),
    "initial": (
        N_("First labels"),
        N_("So many images are asked about before there is a model, chosen without one. 20 to 100 is usual."),
    ),
    "batch_size": (
        N_("Labels per round"),
        N_("After so many new labels the model is trained again. Smaller learns faster per label; larger trains less."),
    ),
    "mode": (
        N_("Rounds"),
        N_("rolling: people go on labelling while the model trains. strict: a round waits for all its labels, as in "
           "papers."),
    ),
    "queue_factor": (
        N_("Queue"),
        N_("In rolling rounds so many times the labels of a round are lined up, so that nobody waits for the model."),
    ),
    "holdout_size": (
        N_("Images to measure on"),
        N_("Random images that are labelled first, and that the model never learns from. Empty: a tenth, at most 200."),
    ),
    "cold_start": (N_("The first choice"), N_("How the first images are chosen, before there is a model.")),
    "cold_labels_per_class": (
        N_("Labels of each class at first"),
        N_("The first choice goes on until every class has so many labels."),
    ),
    "label_budget": (
        N_("Budget"),
        N_("Stop after so many answers by people, those to measure on included. With several people for each image "
           "each of them counts."),
    ),
    "overlap": (N_("People for each image"), N_("So many are asked about every image, each once.")),
    "agreement": (
        N_("More where they disagree"),
        N_("Whether one more person at a time is asked until so many agree as are asked at first."),
    ),
    "overlap_max": (N_("… up to so many people"), N_("After that a reviewer decides.")),
    "consensus": (
        N_("Consensus"),
        N_("majority: what most say, else a reviewer. dawid_skene: before each training all answers are weighed by how "
           "good people prove to be."),
    ),
    "gold_rate": (
        N_("Share of known questions"),
        N_("From 0 to 0.5. Images whose answer is known are mixed in at this rate, unseen, to measure people."),
    ),
    "quality_floor": (
        N_("Pause people below"),
        N_("From 0 to 1. Who is surely right less often, where the answer is known, is asked nothing more, and others "
           "are asked what they answered. Empty: nobody is."),
    ),
    "quality_golds": (N_("… after so many known answers"), N_("Fewer pause nobody.")),
    "weigh_labels": (
        N_("Labels count by who gave them"),
        N_("Whether the model believes the labels of people who are often wrong less."),
    ),
    "target_accuracy": (
        N_("Target accuracy"),
        N_("From 0 to 1. Stop when the accuracy is surely this high: the lower end of its 95% interval reaches it."),
    ),
    "max_rounds": (N_("Rounds at most"), N_("Stop after so many trainings.")),
    "stop_unsure_share": (
        N_("Little is unsure"),
        N_("From 0 to 1. Stop when less than this share of the unlabelled images is predicted unsurely."),
    ),
    "unsure_below": (N_("Unsure means below"), N_("A prediction with a confidence below this counts as unsure.")),
    "stop_plateau": (
        N_("No more progress"),
        N_("From 0 to 1. Stop when the accuracy of the last models is no more than this above the best before."),
    ),
    "plateau_rounds": (N_("… over so many rounds"), N_("How many models are compared with those before.")),
    "stop_training_error": (
        N_("Nothing left to learn"),
        N_("From 0 to 1. Stop when the model gets no more than this share of its own labels wrong."),
    ),
    "stop_agreement": (
        N_("Models agree"),
        N_("From 0 to 1. Stop when one model after the other says the same of the pool (mean of Cohen's kappa)."),
    ),
    "agreement_rounds": (N_("… over so many comparisons"), N_("How many pairs of models the mean is taken over.")),
    "auto_label": (N_("The model may label"), N_("Off until you are ready for labels that no person has looked at.")),
    "auto_label_precision": (
        N_("Right at least"),
        N_("From 0.5 to 1. The threshold is set so that surely this share of the model's labels is right."),
    ),
    "auto_label_audit": (N_("Checked by people"), N_("The share of the model's labels that people are asked about.")),
    "auto_label_random": (
        N_("Random share"),
        N_("The share of each round drawn at random until the threshold can be set honestly."),
    ),
    "lease_seconds": (
        N_("A question is held for, seconds"),
        N_("Without a sign of life for so long, it goes back to the queue and to somebody else."),
    ),
    "suggestions": (
        N_("Suggestions by the model"),
        N_("Whether annotators may ask what the model thinks. A suggestion sways: leave it off for the best labels."),
    ),
    "label_price": (N_("Price of an answer"), N_("What a person's answer costs. The overview then shows the cost.")),
    "currency": (N_("Currency"), N_("Three letters, such as EUR, USD, GBP.")),
    "map_each_round": (
        N_("A map with every round"),
        N_("Draw the map anew whenever a model has looked at the pool. Off: when somebody asks for it on its page."),
    ),
    "train_mode": (
        N_("Training"),
        N_("scratch: from nothing, needs no download. finetune: from weights trained on other photos. "
           "head, ridge: only the last step on fixed features, very quick."),
    ),
    "arch": (N_("Network"), N_("cnn is small and quick. The command winnow archs lists all that can be had.")),
    "image_size": (
        N_("Size that the model sees, pixels"),
        N_("Every image is scaled to a square of this side. 32 is quick; 224 sees detail and takes far longer."),
    ),
    "channels": (N_("Colours"), N_("3: colour, 1: grey.")),
    "epochs": (N_("Passes over the labels"), N_("Empty: chosen by how much is labelled.")),
    "learning_rate": (N_("Learning rate"), N_("Empty: chosen.")),
    "dropout": (N_("Dropout"), N_("Share of features left out at random while training; guards against overfitting.")),
    "batch_norm": (N_("Batch normalisation"), N_("Of Winnow's own networks. Steadier training.")),
    "recipe": (
        N_("Recipe"),
        N_("Further choices of training as JSON, such as {\"mixup\": 0.2}. docs/learning.md names them all."),
    ),
    "seed": (N_("Seed"), N_("The same seed makes the same random choices.")),
    "shard_size": (N_("Images in a unit of work"), N_("How many images a worker takes at a time.")),
}  # fmt: skip
PREPARED = N_("Images were prepared with this value, so it can't change any more. Make a new project to have another.")
STARTED = N_("It was used when the project was started, and has no effect any more.")
ONLY_ALIKE = N_(
    "Images were prepared for this kind of training: scratch and finetune may change into each other, head and ridge "
    "into each other."
)
