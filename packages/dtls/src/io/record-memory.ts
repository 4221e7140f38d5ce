import { InvariantError } from '../machine.ts'
import type { Libcrypto } from './libcrypto.ts'

/** Arrays at least this long are taken to be the slabs of batches, whose addresses are worth remembering. */
const SLAB_BYTES = 16_384
/** Room for the longest record: 2^14 bytes of plaintext and what is around them. */
const SCRATCH_BYTES = 16_384 + 256

/** Offsets in the control block: one after another, each aligned to 16. */
const ADDITIONAL_DATA = 0
const PARAMS = 16
const PARAM_NAME = 96
const IV = 112
const KEY = 128
const OUTPUT_LENGTH = 160
const TAG = 176
const CONTROL_BYTES = 192

const OSSL_PARAM_OCTET_STRING = 5
const AAD_BYTES = 13

/** The byte arrays that libcrypto is given addresses of. They live as long as the process (or the worker). */
export class RecordMemory {
  private readonly library: Libcrypto
  private readonly slabs = new WeakMap<Uint8Array, number>()
  private lastSlab: Uint8Array | undefined
  private lastAddress = 0
  /** Additional data of the record at hand, 13 bytes, and its address. */
  readonly aad: Uint8Array
  readonly aadAddress: number
  /** Parameters that name the additional data: `tlsaad`, then the end of the list. */
  readonly paramsAddress: number
  /** Nonces, 12 bytes. */
  readonly iv: Uint8Array
  readonly ivAddress: number
  readonly key: Uint8Array
  readonly keyAddress: number
  /** Where a function writes how many bytes it gave. */
  readonly outputLengthAddress: number
  readonly tag: Uint8Array
  readonly tagAddress: number
  /** Room for one record. */
  readonly scratch: Uint8Array = new Uint8Array(new ArrayBuffer(SCRATCH_BYTES))
  readonly scratchAddress: number

  constructor(library: Libcrypto) {
    this.library = library
    const buffer = new ArrayBuffer(CONTROL_BYTES)
    const address = library.addressOf(buffer)
    const control = new Uint8Array(buffer)
    this.aad = control.subarray(ADDITIONAL_DATA, ADDITIONAL_DATA + AAD_BYTES)
    this.aadAddress = address + ADDITIONAL_DATA
    this.paramsAddress = address + PARAMS
    this.iv = control.subarray(IV, IV + 12)
    this.ivAddress = address + IV
    this.key = control.subarray(KEY, KEY + 32)
    this.keyAddress = address + KEY
    this.outputLengthAddress = address + OUTPUT_LENGTH
    this.tag = control.subarray(TAG, TAG + 16)
    this.tagAddress = address + TAG
    this.scratchAddress = library.addressOf(this.scratch.buffer as ArrayBuffer)
    // struct OSSL_PARAM on LP64: char *key; unsigned int type @8; void *data @16; size_t size @24; size_t return_size @32.
    const view = new DataView(buffer)
    for (const [i, char] of [...'tlsaad'].entries()) control[PARAM_NAME + i] = char.charCodeAt(0)
    view.setBigUint64(PARAMS, BigInt(address + PARAM_NAME), true)
    view.setUint32(PARAMS + 8, OSSL_PARAM_OCTET_STRING, true)
    view.setBigUint64(PARAMS + 16, BigInt(this.aadAddress), true)
    view.setBigUint64(PARAMS + 24, BigInt(AAD_BYTES), true)
  }

  /**
   * The address of the first byte of a slab, or 0 for an array that is not worth it: short ones, which come and go (and V8 keeps
   * the shortest on the heap, where they move).
   */
  addressOf(bytes: Uint8Array): number {
    if (bytes === this.lastSlab) return this.lastAddress
    if (bytes.length < SLAB_BYTES) return 0
    let address = this.slabs.get(bytes)
    if (address === undefined) {
      address = this.find(bytes)
      this.slabs.set(bytes, address)
    }
    this.lastSlab = bytes
    this.lastAddress = address
    return address
  }

  /** Refuses ranges outside an array (which may have been transferred away): native code does not look. */
  check(bytes: Uint8Array, at: number, end: number): void {
    if (at < 0 || end > bytes.length) throw new InvariantError(`a record at ${at} to ${end} of ${bytes.length} bytes`)
  }

  /** Bytes that may be shared or resized stay where they are, too, but not every version of the FFI tells where. */
  private find(bytes: Uint8Array): number {
    try {
      return this.library.addressOf(bytes.buffer as ArrayBuffer) + bytes.byteOffset
    } catch {
      return 0
    }
  }
}
