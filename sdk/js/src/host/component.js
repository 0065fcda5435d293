// The host inside a component: the contract's imports.

import * as fleet from 'headworks:policy/fleet@0.1.0';
import * as regions from 'headworks:policy/regions@0.1.0';

export * as buckets from 'headworks:policy/buckets@0.1.0';
export * as chance from 'headworks:policy/chance@0.1.0';
export * as clock from 'headworks:policy/clock@0.1.0';
export * as log from 'headworks:policy/log@0.1.0';
export * as prefixIndex from 'headworks:policy/prefix-index@0.1.0';
export * as reply from 'headworks:policy/reply@0.1.0';
export * as store from 'headworks:policy/store@0.1.0';
export * as telemetry from 'headworks:policy/telemetry@0.1.0';

export const fleetVersion = () => fleet.version();
export const fleetColumns = (fields) => fleet.columns(fields);
export const regionColumn = (field) => regions.column(field);

/** There is a host: this runs in a component. */
export const isComponent = true;
