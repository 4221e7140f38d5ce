import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { openDatagramSocket } from '@twinbore/tun/io'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { UdpCut } from '../../src/demo/cuttable-socket.ts'

type Socket = Awaited<ReturnType<typeof openDatagramSocket>>

let cut: UdpCut
let near: Socket
let far: Socket
beforeEach(async () => {
  cut = new UdpCut()
  near = cut.wrap(await openDatagramSocket({ address: '127.0.0.1' }))
  far = await openDatagramSocket({ address: '127.0.0.1' })
})
afterEach(() => {
  near.close()
  far.close()
})

test('a cut swallows both ways without a word, and lets through again when it ends', async () => {
  const toFar = near.endpoints.intern('127.0.0.1', far.localPort)
  const toNear = far.endpoints.intern('127.0.0.1', near.localPort)
  expect(near.sendTo(toFar, Uint8Array.of(1))).toBe(true)
  expect(await received(far)).toEqual([[1]])

  cut.active = true
  expect(near.sendTo(toFar, Uint8Array.of(2))).toBe(true)
  const batch = new PacketBatch()
  batch.push(Uint8Array.of(3), toFar)
  expect(near.send(batch)).toBe(1)
  far.sendTo(toNear, Uint8Array.of(4))
  expect(await received(near)).toEqual([])
  expect(cut.swallowed).toBe(3)

  cut.active = false
  near.sendTo(toFar, Uint8Array.of(5))
  expect(await received(far)).toEqual([[5]])
  far.sendTo(toNear, Uint8Array.of(6))
  expect(await received(near)).toEqual([[6]])
})

/** What arrives next and is not dropped. */
function received(socket: Socket): Promise<number[][]> {
  return new Promise(resolve => {
    socket.onReadable = () => {
      const batch = new PacketBatch()
      if (socket.receive(batch) === 0) return
      const slots = Array.from({ length: batch.count }, (_, slot) => slot)
      resolve(slots.filter(slot => batch.verdicts[slot] === Verdict.forward).map(slot => [...batch.packet(slot)]))
    }
  })
}
