from mnist_ray.ledger.versions import installed_version


def test_tensorflow_is_found_under_the_name_of_its_cpu_build() -> None:
    assert installed_version("tensorflow") is not None
