import { randomBytes } from 'node:crypto'
import { chmod, open, rename, rm } from 'node:fs/promises'

/**
 * Replaces a file in one step: readers see the old content or the new one, never a part, also after a crash. The file
 * that a link points to is not touched; the link is replaced.
 *
 * @param mode permissions of the file, whatever the umask says
 */
export async function writeFileAtomic(path: string, content: string, mode: number): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await chmod(temporary, mode)
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true })
    throw cause
  }
}
