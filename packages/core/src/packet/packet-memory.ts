import { checksumAdd } from './checksum.ts'
import { checksumModule } from './checksum-module.ts'

/** What is used of WebAssembly's API, which is no part of the language's own types. */
declare const WebAssembly: {
  readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: object }
}

/** The functions of `checksum.wat`. Places are counted from where the memory begins. */
interface ChecksumFunctions {
  readonly sum: (from: number, length: number, sum: number) => number
  readonly copyAndSum: (from: number, to: number, length: number, sum: number) => number
}

const PAGE_BYTES = 65_536
/** Slabs begin where lines of the cache do. */
const LINE_BYTES = 64

let compiled: object | undefined
/** Why this thread does without; empty when the self-test passed, `undefined` before it. */
let obstacle: string | undefined

/**
 * Memory that the slabs of several batches are cut from (`PacketBatchOptions.memory`), in which WebAssembly adds checksums up:
 * several times as fast as over other memory, and between two of its batches in the same pass that copies a packet. It neither
 * grows nor moves. One for all hot batches of a thread is best.
 *
 * Memory: what is written to of it; besides, V8 sets 10 GB of addresses aside for each.
 */
export class PacketMemory {
  readonly buffer: ArrayBuffer
  /** `checksumAdd` over bytes of this memory. Checks no bounds: use `PacketBatch.sumAt`. */
  readonly sum: ChecksumFunctions['sum']
  /** The same over bytes that it copies. Checks no bounds: use `PacketBatch.copyAndSum`. */
  readonly copyAndSum: ChecksumFunctions['copyAndSum']
  private used = 0

  /**
   * Makes one of `bytes`, rounded up to 65,536. Returns `undefined` where it would be of no use (`obstacle`) or
   * addresses are too few: batches then have memory of their own.
   */
  static create(bytes: number): PacketMemory | undefined {
    if (PacketMemory.obstacle() !== undefined) return undefined
    try {
      return new PacketMemory(bytes)
    } catch {
      return undefined
    }
  }

  /**
   * Why checksums are added up without WebAssembly here: it is missing, has no SIMD, or gave other sums than JavaScript did.
   * `undefined` when nothing speaks against it. Each thread finds out once.
   */
  static obstacle(): string | undefined {
    obstacle ??= PacketMemory.selfTest()
    return obstacle === '' ? undefined : obstacle
  }

  private static selfTest(): string {
    try {
      return isRight(new PacketMemory(4 * PAGE_BYTES)) ? '' : "WebAssembly's checksums are wrong"
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  private constructor(bytes: number) {
    const pages = Math.ceil(bytes / PAGE_BYTES)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    compiled ??= new WebAssembly.Module(checksumModule())
    const { exports } = new WebAssembly.Instance(compiled, { packets: { memory } })
    const { sum, copyAndSum } = exports as ChecksumFunctions
    this.buffer = memory.buffer
    this.sum = sum
    this.copyAndSum = copyAndSum
  }

  /** Sets `bytes` aside for good. Returns where they begin, or -1 when no so many are left. */
  take(bytes: number): number {
    const at = this.used
    if (at + bytes > this.buffer.byteLength) return -1
    this.used = Math.ceil((at + bytes) / LINE_BYTES) * LINE_BYTES
    return at
  }
}

/** Compares with JavaScript: every short length, the longest one, and several places; on bytes without a pattern. */
function isRight({ buffer, sum, copyAndSum }: PacketMemory): boolean {
  const bytes = new Uint8Array(buffer)
  const view = new DataView(buffer)
  let state = 1
  for (let i = 0; i < 2 * PAGE_BYTES; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    bytes[i] = state >>> 24
  }
  const to = 2 * PAGE_BYTES + 3
  const agrees = (from: number, length: number) => {
    const start = view.getUint16(from)
    const expected = checksumAdd(view, from, length, start)
    if (sum(from, length, start) !== expected || copyAndSum(from, to, length, start) !== expected) return false
    if (length === 0) return true
    return checksumAdd(view, to, length, start) === expected && bytes[to + length - 1] === bytes[from + length - 1]
  }
  for (let length = 0; length <= 130; length++) if (!agrees(length * 7, length)) return false
  bytes.fill(0xff, 0, 600)
  return agrees(1, 1500) && agrees(0, 65_575)
}
