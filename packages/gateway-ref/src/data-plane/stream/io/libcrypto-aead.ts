import type { TlsAead, TlsAeadMaker, TlsAeadName } from '@twinbore/core/io'
import type { Libcrypto } from '@twinbore/dtls/io'

const NONCE_BYTES = 12
const TAG_BYTES = 16
const MAX_AAD_BYTES = 16
/** Room for the longest fragment of a TLS record. */
const SCRATCH_BYTES = 16_384 + 2048

// Where things are in the memory that calls are given.
const NONCE = 32
const AAD = 48
const LENGTH = 64
const TAG_NAME = 72
const PARAMS = 80
const SCRATCH = 160
/** `OSSL_PARAM_OCTET_STRING` of <openssl/core.h>. */
const OCTET_STRING = 5

const cipherNames: Readonly<Record<TlsAeadName, string>> = {
  'aes-128-gcm': 'AES-128-GCM',
  'aes-256-gcm': 'AES-256-GCM',
  'chacha20-poly1305': 'ChaCha20-Poly1305',
}

/** Ciphers of TLS records by libcrypto: four calls to open a record, five to seal one, no allocation. @throws Error when it lacks one of the ciphers */
export function libcryptoAead(library: Libcrypto): TlsAeadMaker {
  const shared = new Shared(library)
  return (name, key, direction) => new LibcryptoAead(shared, name, key, direction)
}

/** What the ciphers of one thread share: memory whose addresses libcrypto is given, and where slabs are. */
class Shared {
  readonly library: Libcrypto
  readonly ciphers: ReadonlyMap<TlsAeadName, number>
  readonly key: Uint8Array
  readonly keyAddress: number
  readonly nonce: Uint8Array
  readonly nonceAddress: number
  readonly aad: Uint8Array
  readonly aadAddress: number
  readonly lengthAddress: number
  /** An OSSL_PARAM: the tag, wherever `pointTo` says. */
  readonly tagAddress: number
  /** For bytes whose address is not known. */
  readonly scratch: Uint8Array
  readonly scratchAddress: number
  /** Frees contexts whose owner was never disposed of. */
  readonly forgotten: FinalizationRegistry<number>
  private readonly tagPointer: Uint32Array
  /** Where the array of the last call was, kept here and not in each cipher: an idle one must not keep an array from being freed. */
  readonly sealed: LastAddress = new LastAddress(bytes => this.addressOfSlab(bytes))
  readonly opened: LastAddress = new LastAddress(bytes => this.addressOfSlab(bytes))
  readonly input: LastAddress = new LastAddress(bytes => this.addressOf(bytes))
  private readonly slabs = new WeakMap<Uint8Array, number>()

  constructor(library: Libcrypto) {
    this.library = library
    const ciphers = new Map<TlsAeadName, number>()
    for (const [name, title] of Object.entries(cipherNames) as [TlsAeadName, string][]) {
      const cipher = library.cipherOf(title)
      if (cipher === 0) {
        library.clearErrors()
        throw new Error(`libcrypto has no ${title}`)
      }
      ciphers.set(name, cipher)
    }
    this.ciphers = ciphers
    const memory = new ArrayBuffer(SCRATCH + SCRATCH_BYTES)
    const address = library.addressOf(memory)
    this.key = new Uint8Array(memory, 0, 32)
    this.keyAddress = address
    this.nonce = new Uint8Array(memory, NONCE, NONCE_BYTES)
    this.nonceAddress = address + NONCE
    this.aad = new Uint8Array(memory, AAD, MAX_AAD_BYTES)
    this.aadAddress = address + AAD
    this.lengthAddress = address + LENGTH
    this.scratch = new Uint8Array(memory, SCRATCH)
    this.scratchAddress = address + SCRATCH
    // struct OSSL_PARAM on LP64: char *key; unsigned int type @8; void *data @16; size_t size @24; size_t return_size @32. One
    // without a key ends the list.
    const view = new DataView(memory)
    new Uint8Array(memory).set([116, 97, 103], TAG_NAME)
    view.setBigUint64(PARAMS, BigInt(address + TAG_NAME), true)
    view.setUint32(PARAMS + 8, OCTET_STRING, true)
    view.setBigUint64(PARAMS + 24, BigInt(TAG_BYTES), true)
    this.tagAddress = address + PARAMS
    this.tagPointer = new Uint32Array(memory, PARAMS + 16, 2)
    this.forgotten = new FinalizationRegistry(context => library.contextFree(context))
  }

  /** Says where the tag is. */
  pointTo(address: number): void {
    this.tagPointer[0] = address
    this.tagPointer[1] = address / 0x1_0000_0000
  }

  /** The address of the first byte; 0 when the FFI does not tell. */
  private addressOf(bytes: Uint8Array): number {
    try {
      return this.library.addressOf(bytes.buffer as ArrayBuffer) + bytes.byteOffset
    } catch {
      return 0
    }
  }

  /** The same of an array that comes again and again. */
  private addressOfSlab(bytes: Uint8Array): number {
    let address = this.slabs.get(bytes)
    if (address === undefined) {
      address = this.addressOf(bytes)
      this.slabs.set(bytes, address)
    }
    return address
  }
}

/** The address of the array that was asked for last, found once. */
class LastAddress {
  private readonly find: (bytes: Uint8Array) => number
  private bytes: Uint8Array = nothing
  private address = 0

  constructor(find: (bytes: Uint8Array) => number) {
    this.find = find
  }

  of(bytes: Uint8Array): number {
    if (bytes !== this.bytes) {
      this.address = this.find(bytes)
      this.bytes = bytes
    }
    return this.address
  }
}

class LibcryptoAead implements TlsAead {
  private readonly shared: Shared
  private context: number

  constructor(shared: Shared, name: TlsAeadName, key: Uint8Array, direction: 'seal' | 'open') {
    const { library } = shared
    this.shared = shared
    this.context = library.contextNew()
    if (this.context === 0) throw new Error('libcrypto has no memory for a context')
    shared.forgotten.register(this, this.context, this)
    shared.key.set(key)
    const encrypts = direction === 'seal' ? 1 : 0
    // The IV comes with each record.
    const result = library.cipherInit(this.context, shared.ciphers.get(name)!, 0, shared.keyAddress, 0, encrypts)
    shared.key.fill(0)
    if (result !== 1) this.refuse('EVP_CipherInit_ex')
  }

  seal(
    bytes: Uint8Array,
    at: number,
    length: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    aadAt: number,
    aadLength: number,
  ): void {
    const { shared } = this
    if (at < 0 || at + length + TAG_BYTES > bytes.length) throw new RangeError('a record beyond its buffer')
    const address = shared.sealed.of(bytes)
    if (address !== 0) {
      this.sealAt(address + at, length, nonce, aad, aadAt, aadLength)
      return
    }
    shared.scratch.set(bytes.subarray(at, at + length))
    this.sealAt(shared.scratchAddress, length, nonce, aad, aadAt, aadLength)
    bytes.set(shared.scratch.subarray(0, length + TAG_BYTES), at)
  }

  open(
    input: Uint8Array,
    at: number,
    length: number,
    output: Uint8Array,
    outputAt: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    aadAt: number,
    aadLength: number,
  ): boolean {
    const { shared } = this
    if (at < 0 || at + length + TAG_BYTES > input.length || outputAt < 0 || outputAt + length > output.length) {
      throw new RangeError('a record beyond its buffer')
    }
    const inputAddress = shared.input.of(input)
    const outputAddress = shared.opened.of(output)
    const from = inputAddress === 0 ? this.copied(input, at, length) : inputAddress + at
    const to = outputAddress === 0 ? shared.scratchAddress : outputAddress + outputAt
    if (!this.openAt(from, length, to, nonce, aad, aadAt, aadLength)) return false
    if (outputAddress === 0) output.set(shared.scratch.subarray(0, length), outputAt)
    return true
  }

  dispose(): void {
    if (this.context === 0) return
    this.shared.forgotten.unregister(this)
    // Wipes the key, too.
    this.shared.library.contextFree(this.context)
    this.context = 0
  }

  private sealAt(
    address: number,
    length: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    aadAt: number,
    aadLength: number,
  ): void {
    const { shared, context } = this
    const { library, lengthAddress } = shared
    if (!this.prepare(nonce, aad, aadAt, aadLength, 0)) this.refuse('EVP_CipherInit_ex2')
    if (library.cipherUpdate(context, address, lengthAddress, address, length) !== 1) this.refuse('EVP_CipherUpdate')
    // An AEAD has nothing left to write.
    if (library.cipherFinal(context, address + length, lengthAddress) !== 1) this.refuse('EVP_CipherFinal_ex')
    shared.pointTo(address + length)
    if (library.getParams(context, shared.tagAddress) !== 1) this.refuse('EVP_CIPHER_CTX_get_params')
  }

  private openAt(
    from: number,
    length: number,
    to: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    aadAt: number,
    aadLength: number,
  ): boolean {
    const { shared, context } = this
    const { library, lengthAddress } = shared
    shared.pointTo(from + length)
    const isOpened =
      this.prepare(nonce, aad, aadAt, aadLength, shared.tagAddress) &&
      library.cipherUpdate(context, to, lengthAddress, from, length) === 1 &&
      library.cipherFinal(context, shared.aadAddress, lengthAddress) === 1
    // What OpenSSL noted of a failure would be taken for an error of the next TLS connection of the thread.
    if (!isOpened) library.clearErrors()
    return isOpened
  }

  private prepare(nonce: Uint8Array, aad: Uint8Array, aadAt: number, aadLength: number, params: number): boolean {
    const { shared, context } = this
    const { library } = shared
    if (context === 0) throw new TypeError('the cipher is disposed of')
    for (let i = 0; i < NONCE_BYTES; i++) shared.nonce[i] = nonce[i]!
    for (let i = 0; i < aadLength; i++) shared.aad[i] = aad[aadAt + i]!
    return (
      library.cipherInitWith(context, 0, 0, shared.nonceAddress, -1, params) === 1 &&
      library.cipherUpdate(context, 0, shared.lengthAddress, shared.aadAddress, aadLength) === 1
    )
  }

  /** The address of a copy of what is to be opened; it may be opened in place. */
  private copied(input: Uint8Array, at: number, length: number): number {
    this.shared.scratch.set(input.subarray(at, at + length + TAG_BYTES))
    return this.shared.scratchAddress
  }

  private refuse(name: string): never {
    this.shared.library.clearErrors()
    throw new Error(`${name} of libcrypto failed`)
  }
}

const nothing = new Uint8Array(0)
