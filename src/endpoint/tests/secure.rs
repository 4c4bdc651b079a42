//! Endpoints with an identity.

mod answered;
mod contested;
mod faults;
mod ways;

use super::a_panic_ends_one_association;
use crate::association::AssociationFault;

#[tokio::test]
async fn l08_a_panic_ends_one_association_only_over_dtls() {
    for fault in [AssociationFault::Receive, AssociationFault::DriverStep, AssociationFault::Command] {
        a_panic_ends_one_association(faults::direct, fault).await;
    }
}
