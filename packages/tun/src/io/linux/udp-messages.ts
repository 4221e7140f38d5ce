import type { NativeLibrary } from '../native-library.ts'

// Layouts (LP64, little endian), in 32-bit words:
// struct mmsghdr (16): name* 0-1; namelen 2; iov* 4-5; iovlen 6-7; control* 8-9; controllen 10-11; flags 12; msg_len 14
// struct iovec (4): base* 0-1; len 2-3
// Where musl has 32 bits and padding for iovlen and controllen, the same words do.

const HEADER_WORDS = 16
const VECTOR_WORDS = 4
/** Room for a sockaddr_in6 (28 bytes). */
const NAME_WORDS = 8
/** namelen, controllen, flags and msg_len. */
const RESULT_WORDS = [2, 10, 12, 14]
const TWO_32 = 0x1_0000_0000

export interface MessageBlockOptions {
  readonly messages: number
  /** Pieces of memory that the messages point to, all together. */
  readonly vectors: number
  /** Bytes of control data for each message, a multiple of 8. */
  readonly controlBytes: number
}

/**
 * What recvmmsg and sendmmsg take: message headers with their vectors, socket addresses and control data, in one piece of
 * memory. Pointers to names and control data are written once; the rest is patched for each call.
 */
export class MessageBlock {
  readonly messages: number
  readonly words: Uint32Array
  readonly bytes: Uint8Array
  /** Control data of each message, in words. */
  readonly controlWords: number
  private readonly address: number
  private readonly vectorsAt: number
  private readonly namesAt: number
  private readonly controlAt: number

  constructor(library: NativeLibrary, options: MessageBlockOptions) {
    const { messages, vectors, controlBytes } = options
    this.messages = messages
    this.controlWords = controlBytes / 4
    this.vectorsAt = messages * HEADER_WORDS
    this.namesAt = this.vectorsAt + vectors * VECTOR_WORDS
    this.controlAt = this.namesAt + messages * NAME_WORDS
    const memory = new ArrayBuffer((this.controlAt + messages * this.controlWords) * 4)
    this.words = new Uint32Array(memory)
    this.bytes = new Uint8Array(memory)
    this.address = library.addressOf(memory)
    for (let message = 0; message < messages; message++) {
      const header = message * HEADER_WORDS
      this.writePointer(header, this.address + this.nameAt(message) * 4)
      this.writePointer(header + 8, this.address + this.controlOf(message) * 4)
    }
  }

  /** Where a message header is in memory. */
  headerAddress(message: number): number {
    return this.address + message * HEADER_WORDS * 4
  }

  /** The first word of a message's socket address. */
  nameAt(message: number): number {
    return this.namesAt + message * NAME_WORDS
  }

  /** The first word of a message's control data. */
  controlOf(message: number): number {
    return this.controlAt + message * this.controlWords
  }

  setVector(vector: number, address: number, length: number): void {
    const at = this.vectorsAt + vector * VECTOR_WORDS
    this.writePointer(at, address)
    this.words[at + 2] = length
  }

  /** Points a message to `count` vectors. */
  setVectors(message: number, first: number, count: number): void {
    const header = message * HEADER_WORDS
    this.writePointer(header + 4, this.address + (this.vectorsAt + first * VECTOR_WORDS) * 4)
    this.words[header + 6] = count
  }

  setLengths(message: number, nameBytes: number, controlBytes: number): void {
    const header = message * HEADER_WORDS
    this.words[header + 2] = nameBytes
    this.words[header + 10] = controlBytes
  }

  /** Bytes of control data that a receive left. */
  controlBytesOf(message: number): number {
    return this.words[message * HEADER_WORDS + 10]!
  }

  flagsOf(message: number): number {
    return this.words[message * HEADER_WORDS + 12]!
  }

  /** Bytes received or sent. */
  lengthOf(message: number): number {
    return this.words[message * HEADER_WORDS + 14]!
  }

  /** Takes over what a receive wrote into a message of another block, except for the data. */
  copyMessage(to: number, block: MessageBlock, from: number): void {
    const target = to * HEADER_WORDS
    const source = from * HEADER_WORDS
    for (const word of RESULT_WORDS) this.words[target + word] = block.words[source + word]!
    const name = block.nameAt(from)
    this.words.set(block.words.subarray(name, name + NAME_WORDS), this.nameAt(to))
    const control = block.controlOf(from)
    this.words.set(block.words.subarray(control, control + this.controlWords), this.controlOf(to))
  }

  private writePointer(at: number, address: number): void {
    const low = address >>> 0
    this.words[at] = low
    this.words[at + 1] = (address - low) / TWO_32
  }
}
