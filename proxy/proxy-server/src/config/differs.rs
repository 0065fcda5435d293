//! Which keys of two configurations differ that only a start can change.

use crate::config::Config;

impl Config {
    /// By their names in the file.
    pub(crate) fn differs_for_good(&self, new: &Config) -> Vec<String> {
        let differs = |key: &str, is_other: bool| is_other.then(|| key.to_owned());
        [
            differs("region", self.region != new.region),
            differs("listen", self.data_listen != new.data_listen),
            differs("data_url", self.data_url != new.data_url),
            differs("admin.listen", self.admin_listen != new.admin_listen),
            differs("admin.token", self.admin_tokens != new.admin_tokens),
            differs("admin.register_token_env", self.register_token != new.register_token),
            differs(
                "tenants",
                (&self.tenancy.file, &self.tenancy.used_file) != (&new.tenancy.file, &new.tenancy.used_file),
            ),
            differs("jwt", self.tenancy.tokens != new.tenancy.tokens),
            differs("tls", self.tls != new.tls),
            differs("upstream_tls", self.transports != new.transports),
            differs("region_peer", self.regions != new.regions),
            differs("policies.watch", self.watch != new.watch),
            differs("policy_headers", self.policy_headers != new.policy_headers),
            differs("policy_cache_folder", self.policy_cache_folder != new.policy_cache_folder),
            differs("state_folder", self.state_folder != new.state_folder),
            differs("recording", self.recording != new.recording),
            differs("oci", self.oci != new.oci),
            differs("resume", self.resume != new.resume),
            differs("signing", self.signing != new.signing),
            differs("telemetry", format!("{:?}", self.telemetry) != format!("{:?}", new.telemetry)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
