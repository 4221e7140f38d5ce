import { randomBytes, randomFillSync } from 'node:crypto'
import type { Random } from '../runtime/random.ts'

/** The operating system's generator, through OpenSSL. */
export const systemRandom: Random = {
  fill(bytes) {
    randomFillSync(bytes)
    return bytes
  },
  uint32: () => randomBytes(4).readUInt32LE(),
}
