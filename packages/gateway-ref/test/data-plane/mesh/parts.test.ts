import { checkPackets, PacketBatch } from '@twinbore/core/packet'
import { fragmentPacket, icmpEchoPacket, icmpErrorPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AssociationNumbers } from '../../../src/data-plane/mesh/association-numbers.ts'
import { allocateFragmentPlaces, FragmentPlaces } from '../../../src/data-plane/mesh/fragment-places.ts'
import { PortSlices } from '../../../src/data-plane/mesh/port-slices.ts'
import { Removals } from '../../../src/data-plane/mesh/removals.ts'
import { EVERYBODY, Steering } from '../../../src/data-plane/mesh/steering.ts'
import { allocateMesh, meshRingBytes, SessionPlaces } from '../../../src/data-plane/mesh/worker-mesh.ts'

describe('slices of ports', () => {
  test('are disjoint, cover the range and say whose a port is', () => {
    fc.assert(
      fc.property(fc.nat(60_000), fc.nat(5_000), fc.integer({ min: 1, max: 64 }), (first, more, count) => {
        const last = first + count - 1 + more
        const slices = new PortSlices({ first, last }, count)
        let next = first
        for (let worker = 0; worker < count; worker++) {
          const slice = slices.sliceOf(worker)
          expect(slice.first).toBe(next)
          expect([slices.workerOf(slice.first), slices.workerOf(slice.last)]).toEqual([worker, worker])
          next = slice.last + 1
        }
        expect([next - 1, slices.workerOf(first - 1), slices.workerOf(last + 1)]).toEqual([last, -1, -1])
      }),
    )
  })

  test('need a port each', () => {
    expect(() => new PortSlices({ first: 10, last: 12 }, 4)).toThrow(RangeError)
  })
})

describe('a packet from outside is steered', () => {
  const slices = new PortSlices({ first: 1000, last: 2999 }, 2)
  const memory = allocateFragmentPlaces()
  const ends = { source: '192.0.2.9', destination: '203.0.113.7' }
  const steer = (steering: Steering, ...packets: Uint8Array[]): number[] => {
    const batch = new PacketBatch()
    for (const packet of packets) batch.push(packet)
    checkPackets(batch)
    expect([...batch.verdicts.subarray(0, packets.length)]).toEqual(packets.map(() => 0))
    return packets.map((_, slot) => steering.workerOf(batch, slot))
  }
  const udp = (destinationPort: number, more = {}) =>
    udpPacket({ ...ends, sourcePort: 53, destinationPort, payload: new Uint8Array(40), ...more })

  test('by its port, or the identifier of an echo', () => {
    const echo = icmpEchoPacket({
      ...ends,
      reply: true,
      identifier: 2500,
      sequenceNumber: 1,
      payload: new Uint8Array(8),
    })
    expect(
      steer(new Steering(slices, new FragmentPlaces(memory)), udp(1000), udp(1999), udp(2000), udp(3000), echo),
    ).toEqual([0, 0, 1, -1, 1])
  })

  test('by the packet that an ICMP error quotes', () => {
    const quoted = udpPacket({
      source: ends.destination,
      destination: ends.source,
      sourcePort: 2100,
      destinationPort: 53,
      payload: new Uint8Array(8),
    })
    const error = (about: Uint8Array) => icmpErrorPacket({ ...ends, type: 3, code: 3, about })
    const steering = new Steering(slices, new FragmentPlaces(memory))
    // Cut off before the ports: nobody's.
    expect(steer(steering, error(quoted), error(quoted.subarray(0, 22)))).toEqual([1, -1])
  })

  test('by its first fragment', () => {
    const steering = new Steering(slices, new FragmentPlaces(memory))
    const other = new Steering(slices, new FragmentPlaces(memory))
    const pieces = (identification: number, port: number) => fragmentPacket(udp(port, { identification }), 24 + 20)
    const [one, two] = [pieces(1, 2500), pieces(2, 1500)]
    expect(steer(steering, one[1]!, one[0]!, two[0]!, one[1]!, two[1]!)).toEqual([EVERYBODY, 1, 0, 1, 0])
    // Through the queue of another worker.
    expect(steer(other, one[1]!, two[1]!)).toEqual([1, 0])
  })
})

test('a home is kept, an owner is whoever came last, and only the owner itself gives up', () => {
  const places = new SessionPlaces(allocateMesh(3, 4))
  expect([places.ownerOf(3), places.homeOf(3)]).toEqual([-1, -1])
  expect([places.claimHome(3, 2), places.claimHome(3, 1), places.homeOf(3)]).toEqual([2, 2, 2])
  places.setOwner(3, 0)
  places.setOwner(3, 1)
  places.releaseOwner(3, 0)
  places.restoreOwner(3, 0)
  expect(places.ownerOf(3)).toBe(1)
  places.releaseOwner(3, 1)
  places.restoreOwner(3, 0)
  expect(places.ownerOf(3)).toBe(0)
  places.forget(3)
  expect([places.ownerOf(3), places.homeOf(3)]).toEqual([-1, -1])
})

test('the rings into a worker take about as much for any number of workers, and never too little', () => {
  expect([2, 3, 5, 9, 64].map(meshRingBytes)).toEqual([2 << 20, 1 << 20, 512 << 10, 256 << 10, 256 << 10])
  expect(() => allocateMesh(1, 4)).toThrow(RangeError)
  expect(() => allocateMesh(65, 4)).toThrow(RangeError)
})

test('associations of several workers have numbers of their own, and one that is replaced elsewhere is named', () => {
  const numbers = new AssociationNumbers(2, 4)
  const first = numbers.establish(1, 0, 5)
  const second = numbers.establish(1, 1, 5)
  expect(first.previous).toBeUndefined()
  expect(second.previous).toEqual({ worker: 0, number: 5 })
  expect(second.association).not.toBe(first.association)
  expect(numbers.split(second.association)).toEqual({ worker: 1, number: 5 })
  // The worker itself closes what it replaces.
  expect(numbers.establish(1, 1, 6).previous).toBeUndefined()
  numbers.close(1, second.association)
  expect(numbers.establish(1, 0, 7).previous).toEqual({ worker: 1, number: 6 })
  numbers.forget(1)
  expect(numbers.establish(1, 1, 8).previous).toBeUndefined()
})

test('a session is removed when all workers have said so, each once', () => {
  const removals = new Removals(2)
  expect(removals.note(3, 0)).toBe(false)
  removals.begin(3)
  expect([removals.note(3, 1), removals.note(3, 1), removals.note(3, 0), removals.note(3, 0)]).toEqual([
    false,
    false,
    true,
    false,
  ])
})
