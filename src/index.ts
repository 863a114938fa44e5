// The public API. Everything here works in Node and in a browser, but for writeModelFile, which needs files.

export { openDataset, readModelFile, writeModelFile } from "#platform";
export type { Calibration } from "./analyze/calibration.ts";
export { type ModelInput, type ModelInputs, resolveInputs } from "./analyze/input.ts";
export { type Layer, weightMatrix } from "./analyze/layers.ts";
export { type PatchStatistics, type PatchStatisticsOptions, patchStatistics } from "./analyze/patch-statistics.ts";
export { type Gradient, gradient } from "./autodiff/gradient.ts";
export { type Compressed, type CompressOptions, compress, type Reopened } from "./compress.ts";
export { type Arrays, type Dataset, datasetFromArrays, datasetFromInputs } from "./data/dataset.ts";
export type { PreprocessOptions } from "./data/preprocess.ts";
export { type ErrorCode, LowrankError } from "./errors.ts";
export { type Finetuned, type FinetuneOptions, type FinetuneReport, finetune } from "./finetune/finetune.ts";
export { type Trained, type TrainOptions, train } from "./finetune/train.ts";
export type { Model } from "./graph/model.ts";
export type { AnyMatrix, Matrix } from "./linalg/matrix.ts";
export { type EvaluateOptions, type Evaluation, evaluate } from "./measure/accuracy.ts";
export { compareLatency, type Latency, type LatencyOptions } from "./measure/latency.ts";
export {
  covarianceDistance,
  type DistanceOptions,
  frobeniusDistance,
  type LayerCandidates,
  type LayerDistances,
  type MahalanobisKind,
  mahalanobisDistance,
  mahalanobisDistances,
} from "./metric/distance.ts";
export { type GradientOptions, gradientStatistics, type LayerGradients } from "./metric/gradients.ts";
export { decodeModel } from "./onnx/decode.ts";
export { encodeModel } from "./onnx/encode.ts";
export { type Calibrated, type CalibrateOptions, calibrate } from "./pipeline/calibrate.ts";
export type { Control, Progress } from "./progress.ts";
export { type Reportable, type ReportOptions, reportHtml } from "./report/html.ts";
export { type Inspection, type InspectOptions, inspect } from "./report/inspect.ts";
export type { CompressReport } from "./report/report.ts";
export { formatPlan, type Plan } from "./search/plan.ts";
export type { Goals } from "./search/promise.ts";
