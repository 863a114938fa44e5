// The public API. Everything here works in Node and in a browser, but for writeModelFile, which needs files.

export { openDataset, readModelFile, writeModelFile } from "#platform";
export type { Calibration } from "./analyze/calibration.ts";
export { type ModelInput, type ModelInputs, resolveInputs } from "./analyze/input.ts";
export { type Geometry, type Layer, type LayerOp, type WeightShape, weightMatrix } from "./analyze/layers.ts";
export { type PatchStatistics, type PatchStatisticsOptions, patchStatistics } from "./analyze/patch-statistics.ts";
export type { Importance } from "./analyze/patches.ts";
export type {
  AnchorLayout,
  Answers,
  BoxesHead,
  ClassesHead,
  ClassMapHead,
  Column,
  Coordinates,
  EmbeddingHead,
  Head,
  HeadCommon,
  KindName,
  ListLayout,
  MaskHead,
  Sample,
  SampleValue,
  ScoreForm,
  TextHead,
  ValuesHead,
} from "./answers/head.ts";
export type { Asked } from "./answers/recognise.ts";
export type { Clusters } from "./approximate/bicluster-clusters.ts";
export type { BlockFeatures, Features, Placed, Sizes } from "./approximate/bicluster-features.ts";
export type { Fit } from "./approximate/bicluster-fit.ts";
export type { MethodName, Rank } from "./approximate/method.ts";
export type { Attributes, Emitter } from "./autodiff/emit.ts";
export { type Gradient, gradient } from "./autodiff/gradient.ts";
export { type Compressed, type CompressOptions, compress, type Reopened } from "./compress.ts";
export type { Augmentation } from "./data/augment.ts";
export type { Batch } from "./data/batches.ts";
export {
  type Arrays,
  type Channels,
  type Dataset,
  datasetFromArrays,
  datasetFromInputs,
  type NamedArrays,
  type Pixels,
} from "./data/dataset.ts";
export type { Feeds } from "./data/feeds.ts";
export type { WriteModelOptions, WriteOptions } from "./data/model-file.node.ts";
export type { Preprocess, PreprocessOptions } from "./data/preprocess.ts";
export type { Deadline } from "./deadline.ts";
export { type ErrorCode, LowrankError, type Where } from "./errors.ts";
export type { Checkpoint, EpochRecord, Place } from "./finetune/checkpoint.ts";
export { type Finetuned, type FinetuneOptions, type FinetuneReport, finetune } from "./finetune/finetune.ts";
export type { LoopFolder, TuningRecord } from "./finetune/layerwise.ts";
export type { Loss, RowPart } from "./finetune/loss.ts";
export type { Optimiser } from "./finetune/optimiser.ts";
export type { Samples } from "./finetune/samples.ts";
export type { Spill } from "./finetune/store.ts";
export { type Trained, type TrainOptions, train } from "./finetune/train.ts";
export type { TuneOptions, WorkFolder } from "./finetune/tune.ts";
export type {
  Attribute,
  AttributeValue,
  Dim,
  ElementType,
  Graph,
  Model,
  ModelFunction,
  Node,
  Rest,
  Tensor,
  ValueInfo,
} from "./graph/model.ts";
export type { Value } from "./graph/shape-rules/call.ts";
export type { GivenShapes } from "./graph/shapes.ts";
export type { AnyMatrix, Matrix } from "./linalg/matrix.ts";
export {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type ModelEvaluation,
  type VersusFirst,
} from "./measure/accuracy.ts";
export type { AnswersComparison, HeadComparison } from "./measure/answers.ts";
export type { Network, ScoreBatch, ScoreFunction } from "./measure/custom-score.ts";
export { type Contender, compareLatency, type Latency, type LatencyOptions } from "./measure/latency.ts";
export type { Interval } from "./measure/statistics.ts";
export type { ByteStore, Memo } from "./memo.ts";
export {
  covarianceDistance,
  type DistanceOptions,
  frobeniusDistance,
  type LayerCandidates,
  type LayerDistances,
  type MahalanobisKind,
  mahalanobisDistance,
  mahalanobisDistances,
  type Numbers,
} from "./metric/distance.ts";
export type { LayerBatch, Wanted } from "./metric/gradient-graph.ts";
export {
  type GradientMetric,
  type GradientOptions,
  gradientStatistics,
  type LayerGradients,
} from "./metric/gradients.ts";
export { type DecodeOptions, decodeModel } from "./onnx/decode.ts";
export { type Bytes, encodeModel } from "./onnx/encode.ts";
export type { ExternalReader } from "./onnx/external.ts";
export type { Placement } from "./onnx/tensor.ts";
export { type Calibrated, type CalibrateOptions, calibrate } from "./pipeline/calibrate.ts";
export type { Control, Progress } from "./progress.ts";
export { type Reportable, type ReportOptions, reportHtml } from "./report/html.ts";
export type {
  CandidateDetails,
  ChangedAnswers,
  ChangedImage,
  CompressDetails,
  LayerDetails,
  StageDetails,
  StagesDetails,
} from "./report/html-details.ts";
export {
  type Inspection,
  type InspectionGroup,
  type InspectionInput,
  type InspectionLayer,
  type InspectOptions,
  inspect,
  type MethodCost,
} from "./report/inspect.ts";
export type {
  AccuracyReport,
  AnswersReport,
  BeforeAfter,
  CompressReport,
  FinetuningReport,
  HeadReport,
  LatencyReport,
  LayerReport,
  PromiseReport,
  SlimReport,
  TrialReport,
} from "./report/report.ts";
export type { NdArray, NumericArray } from "./runtime/ndarray.ts";
export type { SessionOptions } from "./runtime/session.ts";
export { type Choice, formatPlan, type Plan } from "./search/plan.ts";
export type { Goals } from "./search/promise.ts";
export type { OptionName, OptionSpec, PlainOptions, ValueOf } from "./settings/options.ts";
export type { ValueKind } from "./settings/values.ts";
