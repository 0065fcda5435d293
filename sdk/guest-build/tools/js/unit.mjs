// Runs a policy's unit tests: `node unit.mjs FOLDER SDK`.
//
// FOLDER/tests/*.test.ts (.js, .mjs) are bundled, for Node 20 runs no TypeScript, with the SDK's `index.js` as
// `@headworks/policy`, and handed to Node's own test runner. What it prints is theirs.

import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { build } from 'esbuild';

const [folder, sdk] = process.argv.slice(2);
const TEST = /\.test\.(ts|js|mjs)$/;

const room = await mkdtemp(join(tmpdir(), 'headworks-unit-'));
try {
  const tests = (await readdir(join(folder, 'tests'))).filter((name) => TEST.test(name)).sort();
  await build({
    entryPoints: tests.map((name) => join(folder, 'tests', name)),
    outdir: room,
    outExtension: { '.js': '.mjs' },
    platform: 'node',
    alias: { '@headworks/policy': sdk },
    bundle: true,
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    absWorkingDir: folder,
    logLevel: 'error',
  });
  const bundled = tests.map((name) => join(room, name.replace(/\.(ts|js|mjs)$/, '.mjs')));
  const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...bundled], { stdio: 'inherit', cwd: folder });
  process.exitCode = run.status ?? 1;
} catch (error) {
  // The bundler has told its own errors already.
  if (!Array.isArray(error?.errors)) {
    process.stderr.write(`${error?.message ?? error}\n`);
  }
  process.exitCode = 1;
} finally {
  await rm(room, { recursive: true, force: true });
}
