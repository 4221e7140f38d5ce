import { stat } from 'node:fs/promises'

/** Whether a file has any of some permission bits; by default: whether anybody but its owner can use it. */
export async function isReadableByOthers(file: string, bits = 0o077): Promise<boolean> {
  return process.platform !== 'win32' && ((await stat(file)).mode & bits) !== 0
}
