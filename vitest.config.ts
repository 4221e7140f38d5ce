import { defineConfig } from 'vitest/config'

// Cross-package imports resolve to sources, so tests need no build step (except those that start the program itself).
const shared = {
  resolve: { conditions: ['@twinbore/source'] },
  ssr: { resolve: { conditions: ['@twinbore/source', 'node', 'import', 'default'] } },
}

export default defineConfig({
  test: {
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
          fileParallelism: false,
        },
      },
      {
        ...shared,
        test: {
          name: 'interop',
          include: ['packages/*/test/**/*.interop.test.ts', 'tests/interop/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
