// Whether a capture is what other programs take for one.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { icmpEchoPacket, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { afterAll, expect, test } from 'vitest'
import { mustRun } from '../../../tests/lab/lab-process.ts'
import { needs } from '../../../tests/lab/needs.ts'
import { capturedPacket, captureHeader } from '../src/pcapng.ts'

needs('tshark')('a capture read by tshark', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pcapng-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test('has the packets, directions, nanoseconds and the name of the interface', async () => {
    const v4 = { source: '10.0.0.1', destination: '10.0.0.2' }
    const v6 = { source: 'fd00::1', destination: 'fd00::2' }
    const payload = new Uint8Array(1200)
    const blocks = [
      captureHeader({ name: 'tb0' }),
      capturedPacket(
        udpPacket({ ...v4, sourcePort: 4000, destinationPort: 9, payload }),
        1_700_000_000_123_456_789n,
        'inbound',
      ),
      capturedPacket(
        tcpPacket({ ...v6, sourcePort: 4001, destinationPort: 80 }),
        1_700_000_000_123_456_790n,
        'outbound',
      ),
      capturedPacket(icmpEchoPacket({ ...v4, identifier: 7 }), 1_700_000_001_000_000_000n, 'inbound', 24),
    ]
    const file = join(folder, 'capture.pcapng')
    writeFileSync(file, Buffer.concat(blocks))
    const fields = [
      'frame.time_epoch',
      'frame.interface_name',
      'frame.packet_flags_direction',
      'frame.len',
      'frame.cap_len',
      'ip.src',
      'ipv6.dst',
      '_ws.col.Protocol',
    ]
    const output = await mustRun('tshark', ['-r', file, '-T', 'fields', ...fields.flatMap(name => ['-e', name])])
    const rows = output
      .trimEnd()
      .split('\n')
      .map(line => line.split('\t'))
    expect(rows).toEqual([
      ['1700000000.123456789', 'tb0', '0x00000001', '1228', '1228', '10.0.0.1', '', expect.any(String)],
      ['1700000000.123456790', 'tb0', '0x00000002', '60', '60', '', 'fd00::2', 'TCP'],
      ['1700000001.000000000', 'tb0', '0x00000001', '28', '24', '10.0.0.1', '', expect.any(String)],
    ])
  })
})
