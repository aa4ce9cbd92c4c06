"""Data sets: what scikit-learn brings along, toy sets in the plane, and larger ones read from a folder."""

from __future__ import annotations

from ebm.data.cifar10 import cifar10, download_cifar10
from ebm.data.digits import digits
from ebm.data.fashion import download_fashion_mnist, fashion_mnist
from ebm.data.labeled import LabeledImages
from ebm.data.location import data_folders, find_data
from ebm.data.moving_digits import MovingDigits, moving_digits
from ebm.data.photos import PhotoPatches, photo_patches, photos
from ebm.data.text import Characters, python_reference, windows
from ebm.data.toy import eight_gaussians, pinwheel, ring, spiral, two_moons
from ebm.data.whitening import Whitening

__all__ = [
    "Characters",
    "LabeledImages",
    "MovingDigits",
    "PhotoPatches",
    "Whitening",
    "cifar10",
    "data_folders",
    "digits",
    "download_cifar10",
    "download_fashion_mnist",
    "eight_gaussians",
    "fashion_mnist",
    "find_data",
    "moving_digits",
    "photo_patches",
    "photos",
    "pinwheel",
    "python_reference",
    "ring",
    "spiral",
    "two_moons",
    "windows",
]
