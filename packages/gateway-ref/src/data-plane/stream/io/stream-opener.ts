import type { TLSSocket } from 'node:tls'
import { QueueBudget, StreamChannel } from '@twinbore/core/io'
import type { OpenStream } from '../../../control-plane/session-stream.ts'
import type { Logger } from '../../../log/logger.ts'
import { streamCipherSupport } from './stream-ciphers.ts'

/** Who has made the records of stream channels so far, by number of connections. */
export interface StreamRecordStats {
  /** By the own record layer. */
  readonly own: number
  /** By Node's TLS: of a suite that the own layer does not know, or with a state that was not certain. */
  readonly node: number
}

/** Packets that wait for slow clients, of all sessions together. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024

/** Opens stream channels, and counts who makes their records. */
export class StreamOpener {
  private readonly log: Logger
  private readonly budget = new QueueBudget(MAX_QUEUED_BYTES)
  private own = 0
  private node = 0

  constructor(log: Logger) {
    this.log = log
  }

  readonly open: OpenStream = ({ socket }, handlers, packets) => {
    // Handlers live as long as the channel: this one must not keep Node's TLS, which is of no use when it was told.
    let decided: TLSSocket | undefined = socket
    const onRecords = (kind: 'own' | 'node') => {
      if (decided) this.count(kind, decided)
      decided = undefined
    }
    return new StreamChannel(socket, { ...handlers, onRecords }, { ...packets, budget: this.budget })
  }

  stats(): StreamRecordStats {
    const { own, node } = this
    return { own, node }
  }

  private count(kind: 'own' | 'node', socket: TLSSocket): void {
    const { log } = this
    if (kind === 'own' && this.own++ === 0) {
      const { kind: ciphers, reason } = streamCipherSupport()
      log.debug('stream channels by the own record layer', { ciphers, ...(reason === undefined ? {} : { reason }) })
    }
    if (kind === 'node' && this.node++ === 0) {
      const [protocol, cipher] = [socket.getProtocol() ?? 'none', socket.getCipher()?.name]
      log.info("a stream channel by Node's TLS, which is slower", { protocol, cipher })
    }
  }
}
