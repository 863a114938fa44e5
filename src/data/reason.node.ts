// What the system says when a file cannot be read or written, in words.

import { messageOf } from "../errors.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "not permitted",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is spent",
  EROFS: "the disk is read-only",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is not a folder",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "its links form a circle",
  EMFILE: "too many files are open",
  EIO: "the disk failed",
  ERR_FS_FILE_TOO_LARGE: "it is larger than 2 GiB",
};

export function reason(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return REASONS[code] ?? messageOf(error);
}
