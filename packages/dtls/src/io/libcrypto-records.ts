import type { AeadName, RecordCipher } from '../crypto/crypto-provider.ts'
import { InvariantError } from '../machine.ts'
import { writeAdditionalData } from '../record/aead-record-cipher.ts'
import { RECORD_HEADER_BYTES, writeRecordNumber } from '../record/record-header.ts'
import type { Libcrypto } from './libcrypto.ts'
import { RecordMemory } from './record-memory.ts'

/** How records are protected: by OpenSSL's record mode of an AEAD, or step by step. */
export type LibcryptoMode = 'tls-mode' | 'evp'

/** Makes record ciphers of libcrypto; their contexts outside the heap are counted. */
export interface LibcryptoRecords {
  make(name: AeadName, key: Uint8Array, fixedIv: Uint8Array, direction: 'seal' | 'open'): RecordCipher
  /** Contexts that exist now. */
  readonly contexts: number
}

const TAG_BYTES = 16
const NONCE_BYTES = 12
const EXPLICIT_NONCE_BYTES = 8

// EVP_CTRL_* of <openssl/evp.h>.
const AEAD_GET_TAG = 0x10
const AEAD_SET_TAG = 0x11
const GCM_SET_IV_FIXED = 0x12
/** Of `GCM_SET_IV_FIXED`: the whole IV is given, fixed part and first counter. */
const WHOLE_IV = -1

const cipherNames: Readonly<Record<AeadName, string>> = {
  'aes-128-gcm': 'AES-128-GCM',
  'aes-256-gcm': 'AES-256-GCM',
  'chacha20-poly1305': 'ChaCha20-Poly1305',
}

/** What the ciphers of one thread share. */
interface Shared {
  readonly library: Libcrypto
  readonly memory: RecordMemory
  readonly ciphers: ReadonlyMap<AeadName, number>
  /** Frees contexts whose owner was never disposed of. */
  readonly forgotten: FinalizationRegistry<number>
  contexts: number
}

/** @throws Error when the library lacks one of the ciphers */
export function libcryptoRecords(library: Libcrypto, mode: LibcryptoMode): LibcryptoRecords {
  const ciphers = new Map<AeadName, number>()
  for (const [name, title] of Object.entries(cipherNames) as [AeadName, string][]) {
    const cipher = library.cipherOf(title)
    if (cipher === 0) {
      library.clearErrors()
      throw new Error(`libcrypto has no ${title}`)
    }
    ciphers.set(name, cipher)
  }
  const shared: Shared = {
    library,
    memory: new RecordMemory(library),
    ciphers,
    forgotten: new FinalizationRegistry(context => {
      library.contextFree(context)
      shared.contexts--
    }),
    contexts: 0,
  }
  return {
    make(name, key, fixedIv, direction) {
      return mode === 'tls-mode'
        ? new TlsModeCipher(shared, name, key, fixedIv, direction)
        : new SteppedCipher(shared, name, key, fixedIv, direction)
    },
    get contexts() {
      return shared.contexts
    },
  }
}

/** A cipher with a context of libcrypto. The context holds the key; no copy of it stays here. */
abstract class ContextCipher implements RecordCipher {
  protected readonly shared: Shared
  protected readonly library: Libcrypto
  protected readonly memory: RecordMemory
  protected readonly explicitBytes: number
  protected readonly headerBytes: number
  protected context: number

  constructor(shared: Shared, name: AeadName, key: Uint8Array, fixedIv: Uint8Array, direction: 'seal' | 'open') {
    const { library, memory } = shared
    this.shared = shared
    this.library = library
    this.memory = memory
    this.explicitBytes = NONCE_BYTES - fixedIv.length
    this.headerBytes = RECORD_HEADER_BYTES + this.explicitBytes
    this.context = library.contextNew()
    if (this.context === 0) throw new InvariantError('libcrypto has no memory for a context')
    shared.contexts++
    shared.forgotten.register(this, this.context, this)
    memory.key.set(key)
    memory.iv.fill(0)
    memory.iv.set(fixedIv)
    const encrypts = direction === 'seal' ? 1 : 0
    const cipher = shared.ciphers.get(name)!
    // GCM gets its IV later: for the record mode by a command of its own, otherwise with each record.
    const iv = this.explicitBytes > 0 ? 0 : memory.ivAddress
    const result = library.cipherInit(this.context, cipher, 0, memory.keyAddress, iv, encrypts)
    memory.key.fill(0)
    if (result !== 1) this.refuse('EVP_CipherInit_ex')
  }

  seal(bytes: Uint8Array, at: number, length: number, epoch: number, sequence: number): void {
    const { memory } = this
    const recordBytes = this.headerBytes + length + TAG_BYTES
    if (this.context === 0) throw new InvariantError('the cipher was disposed of')
    memory.check(bytes, at, at + recordBytes)
    const slab = memory.addressOf(bytes)
    if (slab !== 0) {
      this.sealAt(bytes, at, slab + at, length, epoch, sequence)
      return
    }
    memory.scratch.set(bytes.subarray(at, at + recordBytes))
    this.sealAt(memory.scratch, 0, memory.scratchAddress, length, epoch, sequence)
    bytes.set(memory.scratch.subarray(0, recordBytes), at)
  }

  open(bytes: Uint8Array, at: number, length: number, keeps: boolean): boolean {
    const { memory } = this
    const recordBytes = this.headerBytes + length + TAG_BYTES
    if (this.context === 0) throw new InvariantError('the cipher was disposed of')
    memory.check(bytes, at, at + recordBytes)
    const slab = keeps ? 0 : memory.addressOf(bytes)
    if (slab !== 0) return this.openAt(bytes, at, slab + at, length)
    // A failure wipes the bytes, so it is a copy that is tried.
    memory.scratch.set(bytes.subarray(at, at + recordBytes))
    if (!this.openAt(memory.scratch, 0, memory.scratchAddress, length)) return false
    bytes.set(memory.scratch.subarray(this.headerBytes, this.headerBytes + length), at + this.headerBytes)
    return true
  }

  dispose(): void {
    if (this.context === 0) return
    this.shared.forgotten.unregister(this)
    this.library.contextFree(this.context)
    this.shared.contexts--
    this.context = 0
  }

  /** Seals the record at `address`, which is `bytes[at]`. */
  protected abstract sealAt(
    bytes: Uint8Array,
    at: number,
    address: number,
    length: number,
    epoch: number,
    sequence: number,
  ): void

  /** Opens the record at `address`, which is `bytes[at]`. */
  protected abstract openAt(bytes: Uint8Array, at: number, address: number, length: number): boolean

  protected refuse(name: string): never {
    this.library.clearErrors()
    throw new InvariantError(`${name} of libcrypto failed`)
  }

  /** A record did not authenticate. What OpenSSL noted of it would be taken for an error of the next TLS connection of the thread. */
  protected forged(): false {
    this.library.clearErrors()
    return false
  }
}

/**
 * Two calls a record: OpenSSL's AEADs know the records of TLS 1.2 and DTLS 1.2 (EVP_CTRL_AEAD_TLS1_AAD of EVP_EncryptInit(3)).
 * GCM counts the explicit nonce up by itself while it seals; where the sequence number jumps, the counter is set anew.
 */
class TlsModeCipher extends ContextCipher {
  private readonly fixedIv: Uint8Array
  /** The epoch and sequence number that the counter stands at. */
  private counterEpoch = -1
  private counterSequence = -1

  constructor(shared: Shared, name: AeadName, key: Uint8Array, fixedIv: Uint8Array, direction: 'seal' | 'open') {
    super(shared, name, key, fixedIv, direction)
    this.fixedIv = fixedIv
    if (direction === 'open' && this.explicitBytes > 0) this.setCounter(0, 0)
  }

  protected sealAt(
    bytes: Uint8Array,
    at: number,
    address: number,
    length: number,
    epoch: number,
    sequence: number,
  ): void {
    const { library, memory, explicitBytes } = this
    const from = at + RECORD_HEADER_BYTES
    const fragment = address + RECORD_HEADER_BYTES
    if (explicitBytes > 0) {
      if (sequence !== this.counterSequence || epoch !== this.counterEpoch) this.setCounter(epoch, sequence)
      this.counterSequence = sequence + 1
    }
    // The length that is handed in has what precedes the plaintext; OpenSSL takes it off.
    writeAdditionalData(memory.aad, bytes, at, length + explicitBytes)
    if (library.setParams(this.context, memory.paramsAddress) !== 1) this.refuse('EVP_CIPHER_CTX_set_params')
    const fragmentBytes = explicitBytes + length + TAG_BYTES
    if (library.cipher(this.context, fragment, fragment, fragmentBytes) !== fragmentBytes) this.refuse('EVP_Cipher')
    if (explicitBytes > 0 && !isCopy(bytes, at + 3, from)) {
      throw new InvariantError('the explicit nonce is not the number of its record')
    }
  }

  protected openAt(bytes: Uint8Array, at: number, address: number, length: number): boolean {
    const { library, memory, explicitBytes } = this
    const fragment = address + RECORD_HEADER_BYTES
    const fragmentBytes = explicitBytes + length + TAG_BYTES
    writeAdditionalData(memory.aad, bytes, at, fragmentBytes)
    if (library.setParams(this.context, memory.paramsAddress) !== 1) return this.forged()
    const result = library.cipher(this.context, fragment, fragment, fragmentBytes)
    // OpenSSL 3 gives the length of the fragment or that of the plaintext, by cipher; -1 for a tag that is wrong.
    if (result === fragmentBytes || result === length) return true
    return this.forged()
  }

  /** Lets the next explicit nonce be this number. */
  private setCounter(epoch: number, sequence: number): void {
    const { iv, ivAddress } = this.memory
    iv.set(this.fixedIv)
    writeRecordNumber(iv, this.fixedIv.length, epoch, sequence)
    if (this.library.control(this.context, GCM_SET_IV_FIXED, WHOLE_IV, ivAddress) !== 1) this.refuse('GCM_SET_IV_FIXED')
    this.counterEpoch = epoch
    this.counterSequence = sequence
  }
}

/** The ordinary calls of an AEAD, for a libcrypto without the record mode. */
class SteppedCipher extends ContextCipher {
  private readonly fixedIv: Uint8Array

  constructor(shared: Shared, name: AeadName, key: Uint8Array, fixedIv: Uint8Array, direction: 'seal' | 'open') {
    super(shared, name, key, fixedIv, direction)
    this.fixedIv = fixedIv
  }

  protected sealAt(bytes: Uint8Array, at: number, address: number, length: number): void {
    const { library, memory, context } = this
    if (this.explicitBytes > 0) bytes.copyWithin(at + RECORD_HEADER_BYTES, at + 3, at + 11)
    if (!this.run(bytes, at, address, length)) this.refuse('EVP_CipherUpdate')
    if (library.cipherFinal(context, memory.tagAddress, memory.outputLengthAddress) !== 1)
      this.refuse('EVP_CipherFinal_ex')
    if (library.control(context, AEAD_GET_TAG, TAG_BYTES, memory.tagAddress) !== 1) this.refuse('AEAD_GET_TAG')
    bytes.set(memory.tag, at + this.headerBytes + length)
  }

  protected openAt(bytes: Uint8Array, at: number, address: number, length: number): boolean {
    const { library, memory, context } = this
    const end = at + this.headerBytes + length
    for (let i = 0; i < TAG_BYTES; i++) memory.tag[i] = bytes[end + i]!
    if (!this.run(bytes, at, address, length)) return this.forged()
    if (library.control(context, AEAD_SET_TAG, TAG_BYTES, memory.tagAddress) !== 1) this.refuse('AEAD_SET_TAG')
    return library.cipherFinal(context, memory.tagAddress, memory.outputLengthAddress) === 1 || this.forged()
  }

  private run(bytes: Uint8Array, at: number, address: number, length: number): boolean {
    const { library, memory, context, fixedIv, explicitBytes } = this
    const { iv, aad, ivAddress, aadAddress, outputLengthAddress } = memory
    iv.set(fixedIv)
    if (explicitBytes > 0) for (let i = 0; i < 8; i++) iv[4 + i] = bytes[at + RECORD_HEADER_BYTES + i]!
    else for (let i = 0; i < 8; i++) iv[4 + i] = iv[4 + i]! ^ bytes[at + 3 + i]!
    writeAdditionalData(aad, bytes, at, length)
    const content = address + this.headerBytes
    return (
      library.cipherInit(context, 0, 0, 0, ivAddress, -1) === 1 &&
      library.cipherUpdate(context, 0, outputLengthAddress, aadAddress, aad.length) === 1 &&
      library.cipherUpdate(context, content, outputLengthAddress, content, length) === 1
    )
  }
}

/** Whether the 8 bytes at `b` are those at `a`. */
function isCopy(bytes: Uint8Array, a: number, b: number): boolean {
  let difference = 0
  for (let i = 0; i < EXPLICIT_NONCE_BYTES; i++) difference |= bytes[a + i]! ^ bytes[b + i]!
  return difference === 0
}
