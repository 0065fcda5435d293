import { describe, expect, it } from 'vitest';
import { seeded } from '../testing/seeded';
import { EVENT_CHARS_MAX, SseParser, type ServerEvent } from './sse';

/** Streams as servers write them, and the events they carry. */
const STREAMS: [string, string, ServerEvent[]][] = [
  ['one event', 'event: fleet\ndata: {"a":1}\n\n', [{ event: 'fleet', data: '{"a":1}' }]],
  ['CR LF line ends', 'event: fleet\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n', [{ event: 'fleet', data: '1' }, { event: 'message', data: '2' }]],
  ['lone CR line ends', 'event: a\rdata: 1\r\rdata: 2\r\r', [{ event: 'a', data: '1' }, { event: 'message', data: '2' }]],
  ['mixed line ends', 'data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\n', [{ event: 'message', data: '1' }, { event: 'message', data: '2' }, { event: 'message', data: '3' }]],
  ['data over several lines', 'data: a\ndata: b\ndata:\n\n', [{ event: 'message', data: 'a\nb\n' }]],
  ['comments and keep-alives', ': hello\n\n:\n\ndata: 1\n: inside\n\n', [{ event: 'message', data: '1' }]],
  ['no space after the colon', 'event:x\ndata:{"a": 1}\n\n', [{ event: 'x', data: '{"a": 1}' }]],
  ['only the first space belongs to the syntax', 'data:  two\n\n', [{ event: 'message', data: ' two' }]],
  ['an event without data is none, and its name is forgotten', 'event: lost\n\ndata: 1\n\n', [{ event: 'message', data: '1' }]],
  ['unknown fields are skipped', 'id: 7\nretry: 10\nfoo\ndata: 1\n\n', [{ event: 'message', data: '1' }]],
  ['a colon in the value', 'data: a:b: c\n\n', [{ event: 'message', data: 'a:b: c' }]],
  ['a byte order mark', '\uFEFFdata: 1\n\n', [{ event: 'message', data: '1' }]],
  ['characters beyond the first plane', 'data: 🌊é\n\n', [{ event: 'message', data: '🌊é' }]],
  ['an unfinished event is not told', 'data: 1\n\ndata: 2\n', [{ event: 'message', data: '1' }]],
];

function parse(chunks: string[]): ServerEvent[] {
  const parser = new SseParser();
  return chunks.flatMap((chunk) => parser.push(chunk));
}

describe('the parser of server-sent events', () => {
  it.each(STREAMS)('reads %s', (_, stream, events) => {
    expect(parse([stream])).toEqual(events);
  });

  it.each(STREAMS)('reads %s in one cut, wherever it falls', (_, stream, events) => {
    for (let at = 0; at <= stream.length; at += 1) expect(parse([stream.slice(0, at), stream.slice(at)]), `cut at ${at}`).toEqual(events);
  });

  it.each(STREAMS)('reads %s character by character', (_, stream, events) => {
    expect(parse([...stream])).toEqual(events);
  });

  it('reads any stream the same under any cuts', () => {
    const chance = seeded(7);
    const pieces = ['event: fleet', 'data: {"a":1}', 'data:', ':', '', '', 'id: 3', '\r', '\n', '\r\n'];
    for (let run = 0; run < 300; run += 1) {
      const ends = ['\n', '\r\n', '\r'];
      const stream = Array.from({ length: 24 }, () => pieces[Math.floor(chance() * pieces.length)]! + ends[Math.floor(chance() * ends.length)]!).join('');
      const chunks: string[] = [];
      for (let at = 0; at < stream.length; ) {
        const size = Math.floor(chance() * 6);
        chunks.push(stream.slice(at, at + size));
        at += size;
      }
      expect(parse(chunks), JSON.stringify(chunks)).toEqual(parse([stream]));
    }
  });

  it('gives up an event without end instead of keeping it all', () => {
    const parser = new SseParser();
    const chunk = 'x'.repeat(EVENT_CHARS_MAX / 4);
    expect(() => {
      for (let sent = 0; sent < 6; sent += 1) parser.push(chunk);
    }).toThrow('too large');
  });
});
