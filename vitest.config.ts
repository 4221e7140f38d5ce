import { defineConfig } from 'vitest/config'

// Cross-package imports resolve to sources, so tests need no build step (except those that start the program itself).
const shared = {
  resolve: { conditions: ['@twinbore/source'] },
  ssr: { resolve: { conditions: ['@twinbore/source', 'node', 'import', 'default'] } },
}

/**
 * Interop files that judge rates, memory, or whether the program answers in time: nothing else runs beside them. Whatever is not
 * named here must bear another file at its side.
 */
const alone = [
  'tests/interop/data-plane-restart.test.ts',
  'tests/interop/netstack-goodput.test.ts',
  'tests/interop/no-leak-restart.test.ts',
  'tests/interop/rate-limits.test.ts',
  'tests/interop/session-scale.test.ts',
  'tests/interop/several-workers.test.ts',
  'tests/interop/soak.test.ts',
  'tests/interop/sockets-egress.test.ts',
  'tests/interop/sockets-scale.test.ts',
]

const interopTimeouts = { testTimeout: 180_000, hookTimeout: 120_000 }

// Every file makes namespaces, ports and folders of its own. More at once than two would only wait for the same cores.
const besideOneOther = { maxWorkers: 2, sequence: { groupOrder: 1 } }

export default defineConfig({
  test: {
    // One core is not left free: no test depends on timing.
    maxWorkers: '100%',
    reporters: ['default', './tests/lab/summary-reporter.ts'],
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['packages/*/test/**/*.test.ts', 'tests/tidy/**/*.test.ts'],
          exclude: ['**/*.interop.test.ts', '**/*.io.test.ts'],
          // A slow machine is no fault of a test.
          testTimeout: 60_000,
        },
      },
      { ...shared, test: { name: 'simulation', include: ['tests/simulation/**/*.test.ts'], testTimeout: 120_000 } },
      {
        ...shared,
        test: {
          name: 'io',
          include: ['packages/*/test/**/*.io.test.ts', 'tests/io/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          ...besideOneOther,
        },
      },
      {
        ...shared,
        test: {
          name: 'interop',
          include: ['packages/*/test/**/*.interop.test.ts', 'tests/interop/**/*.test.ts'],
          exclude: alone,
          ...interopTimeouts,
          ...besideOneOther,
        },
      },
      { ...shared, test: { name: 'alone', include: alone, ...interopTimeouts, fileParallelism: false } },
    ],
  },
})
