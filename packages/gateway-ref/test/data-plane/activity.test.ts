import { PacketBatch } from '@twinbore/core/packet'
import { describe, expect, test } from 'vitest'
import { ActivityLedger, activityAt } from '../../src/data-plane/activity.ts'
import { Carrier, SessionTable } from '../../src/data-plane/session-table.ts'

function world(intervalMs = 50) {
  const sessions = new SessionTable(4)
  sessions.install({ mtu: 1400 }, 0)
  sessions.install({ mtu: 1400 }, 1)
  const ledger = new ActivityLedger(sessions, intervalMs)
  const receive = (session: number, carrier: Carrier, now: number) => {
    const batch = new PacketBatch({ capacity: 1 })
    batch.push(new Uint8Array(100), session)
    sessions.countReceived(batch, carrier)
    ledger.collect(now)
  }
  const send = (session: number, carrier: Carrier, now: number) => {
    sessions.countSent(session, carrier, 40, 1)
    ledger.collect(now)
  }
  const take = (now: number) => {
    const table = ledger.take(now)
    return table ? Array.from({ length: table.length / 8 }, (_, row) => activityAt(table, row * 8)) : undefined
  }
  return { sessions, ledger, receive, send, take }
}

describe('activity', () => {
  test('after a pause is due at once, what follows after the interval', () => {
    const { ledger, receive, send, take } = world()
    expect(ledger.deadline).toBeUndefined()
    receive(0, Carrier.datagram, 1000)
    expect(ledger.deadline).toBe(1000)
    expect(take(1000)).toHaveLength(1)
    expect(ledger.deadline).toBeUndefined()
    send(0, Carrier.datagram, 1010)
    receive(1, Carrier.datagram, 1020)
    send(0, Carrier.datagram, 1030)
    // Session 1 is heard for the first time.
    expect(ledger.deadline).toBe(1020)
    send(1, Carrier.datagram, 1021)
    take(1020)
    send(0, Carrier.datagram, 1040)
    expect(ledger.deadline).toBe(1070)
  })

  test('of a client that turns up on its other channel is due at once, but not in a row', () => {
    const { ledger, receive, take } = world()
    receive(0, Carrier.datagram, 1000)
    take(1000)
    receive(0, Carrier.datagram, 1001)
    expect(ledger.deadline).toBe(1050)
    receive(0, Carrier.stream, 1001.5)
    expect(ledger.deadline).toBe(1002)
    take(1002)
    receive(0, Carrier.datagram, 1010)
    expect(ledger.deadline).toBe(1010)
  })

  test('counts, and says when something was received last and since when something sent is unanswered', () => {
    const { receive, send, take } = world()
    send(0, Carrier.stream, 10)
    send(0, Carrier.stream, 20)
    receive(0, Carrier.stream, 30)
    expect(take(30)).toEqual([
      {
        session: 0,
        carrier: Carrier.stream,
        packetsReceived: 1,
        bytesReceived: 100,
        packetsSent: 2,
        bytesSent: 80,
        receivedAt: 30,
        sentAt: 10,
      },
    ])
    receive(0, Carrier.stream, 40)
    send(0, Carrier.stream, 50)
    send(0, Carrier.stream, 60)
    expect(take(60)).toMatchObject([{ receivedAt: 40, sentAt: 50, packetsSent: 2 }])
    expect(take(60)).toBeUndefined()
  })

  test('of both channels is told apart, that of a session that is gone not at all', () => {
    const { ledger, receive, send, take } = world()
    receive(0, Carrier.stream, 10)
    send(0, Carrier.datagram, 10)
    receive(1, Carrier.stream, 10)
    ledger.forget(1)
    expect(take(10)).toMatchObject([
      { session: 0, carrier: Carrier.stream, packetsReceived: 1, packetsSent: 0 },
      { session: 0, carrier: Carrier.datagram, packetsReceived: 0, packetsSent: 1 },
    ])
  })

  test('is due with each batch when no interval is wanted', () => {
    const { ledger, send, take } = world(0)
    for (const now of [10, 11, 12]) {
      send(0, Carrier.datagram, now)
      expect(ledger.deadline).toBe(now)
      take(now)
    }
  })
})
