import { expect, test } from 'vitest'
import { socketNotices } from '../../src/control-plane/io/plane-lines.ts'
import { silentLogger } from '../../src/log/logger.ts'

test('each way in which a socket does with less is told once, whoever notices it', () => {
  const lines: unknown[] = []
  const onNotice = socketNotices({ ...silentLogger, warn: (...words: unknown[]) => void lines.push(words) })
  onNotice({ code: 'gso-off', message: 'EIO' })
  onNotice({ code: 'gro-off', message: 'ENOPROTOOPT' })
  onNotice({ code: 'gso-off', message: 'EIO' })
  expect(lines).toEqual([
    ['the UDP socket does with less', { code: 'gso-off', reason: 'EIO' }],
    ['the UDP socket does with less', { code: 'gro-off', reason: 'ENOPROTOOPT' }],
  ])
})
