// The one error class of the project. Anything a user can cause is thrown as a LowrankError with a message that says
// what was found, where, and what would be right; any other exception is a bug in lowrank.

/** What kind of thing went wrong; the command line turns it into an exit code. */
export type ErrorCode =
  /** The model file is not ONNX, is cut short or contradicts itself. */
  | "bad-model"
  /** The images, or one of them, cannot be read or do not fit the model. */
  | "bad-data"
  /** An option or argument has a value that makes no sense. */
  | "bad-option"
  /** Valid input that lowrank cannot handle. */
  | "unsupported"
  /** ONNX Runtime refused or failed. */
  | "runtime"
  /** A promise (MACs, parameters, drop, speed) cannot be kept. */
  | "unreachable"
  /** Stopped by the caller's AbortSignal. */
  | "interrupted";

/** Where in the input the error was found. */
export interface Where {
  readonly file?: string;
  readonly node?: string;
  readonly op?: string;
  readonly layer?: string;
}

export class LowrankError extends Error {
  override readonly name = "LowrankError";
  readonly code: ErrorCode;
  readonly where: Where;

  constructor(code: ErrorCode, message: string, where: Where = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.where = where;
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
