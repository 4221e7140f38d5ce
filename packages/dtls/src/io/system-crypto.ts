import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { type Libcrypto, loadLibcrypto } from './libcrypto.ts'
import { type LibcryptoMode, type LibcryptoRecords, libcryptoRecords } from './libcrypto-records.ts'
import { nodeCrypto } from './node-crypto.ts'
import { testRecordCiphers } from './record-self-test.ts'

/** How `systemCrypto` protects records here. */
export interface RecordProtectionSupport {
  /**
   * `tls-mode`: by the record mode of libcrypto's AEADs, two calls a record. `evp`: by libcrypto's ordinary calls. `node`: by
   * node:crypto, at several times the cost.
   */
  readonly kind: LibcryptoMode | 'node'
  /** Why it is not `tls-mode`. */
  readonly reason?: string
}

interface Choice extends RecordProtectionSupport {
  readonly records?: LibcryptoRecords
}

let choice: Choice | undefined

/**
 * The best primitives of this system: records go through libcrypto directly where the optional package `koffi` loads and a
 * self-test passes (made when it is first needed, some milliseconds once per thread); everything else is `nodeCrypto`, and so are
 * records elsewhere. Both give the same bytes. Keys of ciphers in use lie in libcrypto's memory; a worker that is terminated
 * rather than closed leaves them behind.
 */
export const systemCrypto: CryptoProvider = {
  aead: nodeCrypto.aead,
  hash: nodeCrypto.hash,
  hmac: nodeCrypto.hmac,
  get records() {
    choice ??= choose()
    return choice.records?.make
  },
}

/** How `systemCrypto` protects records here, and why not better. For logs and diagnosis. */
export function recordProtectionSupport(): RecordProtectionSupport {
  choice ??= choose()
  const { kind, reason } = choice
  return reason === undefined ? { kind } : { kind, reason }
}

/** How many contexts of libcrypto this thread holds: two for each association in use. */
export function recordContexts(): number {
  return choice?.records?.contexts ?? 0
}

function choose(): Choice {
  let library: Libcrypto
  try {
    library = loadLibcrypto()
  } catch (cause) {
    return { kind: 'node', reason: `libcrypto can't be called: ${messageOf(cause)}` }
  }
  const fast = tested(library, 'tls-mode')
  if (typeof fast !== 'string') return { kind: 'tls-mode', records: fast }
  const stepped = tested(library, 'evp')
  if (typeof stepped !== 'string') return { kind: 'evp', reason: fast, records: stepped }
  return { kind: 'node', reason: `${fast}; ${stepped}` }
}

/** One way, if it passes the self-test; else what is wrong with it. */
function tested(library: Libcrypto, mode: LibcryptoMode): LibcryptoRecords | string {
  try {
    const records = libcryptoRecords(library, mode)
    const failure = testRecordCiphers(records.make)
    return failure === undefined ? records : `${mode}: ${failure}`
  } catch (cause) {
    return `${mode}: ${messageOf(cause)}`
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
