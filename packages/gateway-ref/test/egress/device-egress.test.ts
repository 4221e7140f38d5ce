import { PacketBatch } from '@twinbore/core/packet'
import { memoryPair } from '@twinbore/tun'
import { expect, test } from 'vitest'
import { deviceEgress } from '../../src/egress/device-egress.ts'

test('a device becomes a way out that is translated to the given addresses', async () => {
  const [device] = memoryPair()
  const egress = deviceEgress({ device, addresses: ['203.0.113.7', '2001:db8::7'], ports: { first: 5000, last: 5999 } })
  await egress.start()
  expect(egress.device).toBe(device)
  expect(egress.translation?.outsideAddresses.join(' ')).toBe('203.0.113.7 2001:db8::7')
  expect(egress.translation).toMatchObject({ portRange: { first: 5000, last: 5999 }, decrementTtl: true })
})

test('it serves one gateway: stop closes the device', async () => {
  const [device, other] = memoryPair()
  const egress = deviceEgress({ device, addresses: ['203.0.113.7'] })
  await egress.start()
  await egress.stop()
  await egress.stop()
  await expect(egress.start()).rejects.toMatchObject({ code: 'ERR_GATEWAY_HOST' })
  const batch = new PacketBatch()
  batch.push(new Uint8Array(20))
  expect(other.write(batch)).toBe(0)
})

test.each([[[]], [['203.0.113.7/32']], [['host']]])('addresses %j are refused', addresses => {
  expect(() => deviceEgress({ device: memoryPair()[0], addresses })).toThrow(RangeError)
})
