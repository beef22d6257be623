"""``moonpool bench``: what this machine does, as ratios to plain ``runsc`` measured in the same run."""
