// A handful of points. Apart from the other toys, so that a test can put it in the place of the full effort.

import { methodsNamed } from "../../src/approximate/methods.ts";
import type { Effort } from "../../src/reproduce/experiments.ts";

export const LITTLE: Effort = {
  table: [2],
  cascade: [1.5],
  curve: 1,
  dense: 3,
  methods: methodsNamed(["svd", "channel", "outer", "bicluster+svd"]),
  main: ["kfac", "covariance"],
  metrics: ["frobenius", "mahalanobis", "covariance", "kfac"],
  epochs: 1,
  seconds: 0.005,
};
