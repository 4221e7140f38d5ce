import type { DatagramNotice } from '@twinbore/tun'
import type { PlaneEvent } from '../../data-plane/events.ts'
import type { Logger } from '../../log/logger.ts'

/** Writes a line for each way in which the system does less than it was asked: once, whoever notices it. */
export function socketNotices(log: Logger): (notice: DatagramNotice) => void {
  const told = new Set<DatagramNotice['code']>()
  return ({ code, message }) => {
    if (told.has(code)) return
    told.add(code)
    log.warn('the UDP socket does with less', { code, reason: message })
  }
}

/** Writes a line for what a data plane tells, where it is worth one. */
export function logPlaneEvent(event: PlaneEvent, log: Logger): void {
  switch (event.type) {
    case 'association-moved':
      log.info('datagram channel follows its client to another address', { from: event.from, to: event.to })
      break
    case 'handshake-failed':
      log.debug('datagram handshake failed', { remote: event.remote, reason: event.code })
      break
    case 'translator': {
      if (event.output.type !== 'ports-exhausted') break
      const { resource, protocol, outsideAddress, refused } = event.output
      log.warn('new flows are refused: the translator is full', { resource, protocol, outsideAddress, refused })
      break
    }
    default:
      break
  }
}
