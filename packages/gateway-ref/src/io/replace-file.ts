import { chmod, open, rename, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** How a file is replaced. */
export interface ReplaceFileOptions {
  /** Permissions of the file, whatever the umask says. */
  readonly mode: number
  /** How long to wait for another program that is replacing it. @defaultValue 5000 */
  readonly lockWaitMs?: number
}

/** Thrown when the wait for another program is over. */
export class FileLockedError extends Error {
  override readonly name = 'FileLockedError'
  readonly lock: string

  constructor(lock: string) {
    super(`'${lock}' exists`)
    this.lock = lock
  }
}

/**
 * Replaces a file in one step, one program at a time: readers see the old content or the new one, never a part, also
 * after a crash. The new content is written to `PATH.lock`, which nobody else can make meanwhile, and renamed.
 *
 * @param content what to write; it reads the old content itself, if it needs it. What it throws is passed on, and the file
 *   stays as it was
 * @throws FileLockedError, or an error of the file system
 */
export async function replaceFile(
  path: string,
  options: ReplaceFileOptions,
  content: () => Promise<string> | string,
): Promise<void> {
  const lock = `${path}.lock`
  const file = await openLock(lock, options)
  try {
    try {
      await file.writeFile(await content())
      await file.sync()
    } finally {
      await file.close()
    }
    await chmod(lock, options.mode)
    await rename(lock, path)
  } catch (cause) {
    await rm(lock, { force: true })
    throw cause
  }
}

async function openLock(lock: string, { mode, lockWaitMs = 5000 }: ReplaceFileOptions) {
  const step = 20
  for (let waited = 0; ; waited += step) {
    try {
      return await open(lock, 'wx', mode)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
      if (waited >= lockWaitMs) throw new FileLockedError(lock)
      await sleep(step)
    }
  }
}
