import type { CryptoProvider, HashName } from '../crypto/crypto-provider.ts'
import { encodeMessage, type HandshakeMessage } from './message-header.ts'

/**
 * The messages that Finished and the extended master secret cover, each as if it had come in one fragment. A hello that was
 * answered by HelloVerifyRequest, and that answer, are not part of it. RFC 6347 §4.2.6.
 */
export class Transcript {
  private messages: Uint8Array[] = []

  /** Adds a message that was received. */
  addReceived(message: HandshakeMessage): void {
    this.messages.push(encodeMessage(message.type, message.messageSeq, message.body))
  }

  /** Adds a message to be sent, with its header. */
  addSent(encoded: Uint8Array): void {
    this.messages.push(encoded)
  }

  restart(): void {
    this.messages = []
  }

  /** The hash of everything added so far. */
  hash(crypto: CryptoProvider, name: HashName): Uint8Array {
    return crypto.hash(name, ...this.messages)
  }
}
